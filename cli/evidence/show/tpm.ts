import { fromUtf8, toHex } from '#core/bytes.js';
import { parseReport } from '#core/snp/parse.js';
import { parseHclReport } from '#core/tpm/ak/hcl.js';
import { parseQuote, type TpmQuote } from '#core/tpm/attest.js';
import { objectAttribute } from '#core/tpm/layout.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import type { PcrValues } from '#core/tpm/quote.js';
import { parseTpmSignature } from '#core/tpm/signature.js';
import { crypto } from '#crypto';
import type { Tree } from '../tree.js';
import { reportTree } from './snp.js';

/** Every field of a quote (TPM 2.0 Part 2, TPMS_ATTEST). */
export function tpmQuoteTree(quote: TpmQuote): Tree {
  const { clockInfo } = quote;
  return {
    magic: 'TPM_GENERATED_VALUE',
    type: 'TPM_ST_ATTEST_QUOTE',
    qualifiedSigner: toHex(quote.qualifiedSigner),
    extraData: toHex(quote.extraData),
    clock: `${clockInfo.clock} ms`,
    resetCount: clockInfo.resetCount,
    restartCount: clockInfo.restartCount,
    safe: clockInfo.safe,
    firmwareVersion: `0x${quote.firmwareVersion.toString(16)}`,
    pcrSelect: quote.selections.map(({ bank, pcrs }) => `${bank}: ${pcrs.join(' ')}`).join('; '),
    pcrDigest: toHex(quote.pcrDigest),
  };
}

export const quoteFileTree = (bytes: Uint8Array): Tree => tpmQuoteTree(parseQuote(bytes));

/** PCR values by number. */
export function pcrTree(values: PcrValues): Tree {
  return Object.fromEntries([...values].map(([pcr, value]) => [`PCR ${pcr}`, toHex(value)]));
}

/** A TPMT_SIGNATURE, or an RSA signature alone. */
export function signatureTree(bytes: Uint8Array, isRaw: boolean): Tree {
  if (isRaw) return { form: 'RSA signature without its structure', value: toHex(bytes) };
  const { algorithm, hash, bytes: value } = parseTpmSignature(bytes);
  return { form: 'TPMT_SIGNATURE', algorithm, hash, value: toHex(value) };
}

/** A TPMT_PUBLIC. */
export function publicAreaTree(bytes: Uint8Array): Tree {
  const area = parsePublicArea(bytes);
  const set = Object.entries(objectAttribute).filter(([, bit]) => (area.attributes & bit) !== 0);
  return {
    objectAttributes: {
      value: `0x${area.attributes.toString(16).padStart(8, '0')}`,
      flags: set.map(([name]) => name).join(' '),
    },
    name: toHex(area.name),
    spki_sha256: toHex(crypto.hash('sha256', area.spki)),
  };
}

/** Azure's HCL report, and what is inside of it. */
export function hclTree(bytes: Uint8Array): Tree {
  const hcl = parseHclReport(bytes);
  const isSnp = hcl.hardware === 'snp';
  return {
    hardware: isSnp ? 'AMD SEV-SNP' : 'Intel TDX',
    runtime_data: {
      [hcl.hash]: toHex(crypto.hash(hcl.hash, hcl.runtimeData)),
      ...jsonTree(JSON.parse(fromUtf8(hcl.runtimeData, 'runtime_data'))),
    },
    ak_sha256: toHex(crypto.hash('sha256', hcl.akSpki)),
    user_data: toHex(hcl.userData),
    hardware_report: isSnp
      ? reportTree(parseReport(hcl.hardwareReport))
      : `TDREPORT, ${toHex(hcl.hardwareReport.slice(0, 16))}…; the quote is a file of its own`,
  };
}

/** JSON as a tree. */
export function jsonTree(json: unknown): Tree {
  if (typeof json !== 'object' || json === null) return { value: String(json) };
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => [
      Array.isArray(json) ? `${Number(name) + 1}` : name,
      typeof value === 'object' && value !== null ? jsonTree(value) : String(value),
    ]),
  );
}
