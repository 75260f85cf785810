import { fromHex } from '#core/bytes.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { parseQuote, type TpmQuote } from '#core/tpm/attest.js';
import { type PcrValues, verifyPcrDigest, verifyQuoteSignature } from '#core/tpm/quote.js';
import { parseTpmSignature, rawRsaSignature, type TpmSignature } from '#core/tpm/signature.js';
import { parsePem } from '#core/x509/pem.js';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type Json,
  type JsonObject,
} from '../../judge.js';
import { reasonClass } from '../reason-classes.js';

/** Where the vectors for TPMs call a reason otherwise. */
const tpmReasons: Readonly<Partial<Record<ErrorCode, string>>> = {
  PCR_MISMATCH: 'pcr-digest-mismatch',
  RUNTIME_DATA_MISMATCH: 'runtime-data-mismatch',
  EVENT_LOG_MISMATCH: 'event-log-mismatch',
  QE_REPORT_INVALID: 'qe-report-invalid',
};

/** `accept` or `reject (reason)`. */
export async function outcomeOf(work: () => Promise<void>): Promise<string> {
  try {
    await work();
    return 'accept';
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return `reject (${tpmReasons[error.code] ?? reasonClass(error.code)})`;
  }
}

/**
 * Compares an outcome with `verdict` and `reason_class`. A class like `x-or-malformed` leaves it
 * open which of the two the first failure is.
 */
export function against(name: string, wanted: JsonObject, outcome: string): CaseVerdict {
  const stated = asString(wanted.verdict, 'verdict');
  if (stated !== 'reject') {
    return { name, expected: stated, actual: outcome, asExpected: outcome === stated };
  }
  const classes = typeof wanted.reason_class === 'string' ? wanted.reason_class.split('-or-') : [];
  const expected = classes.map((reason) => `reject (${reason})`);
  return {
    name,
    expected: expected.join(' or ') || 'reject',
    actual: outcome,
    asExpected: expected.length === 0 ? outcome.startsWith('reject') : expected.includes(outcome),
  };
}

/** Reads files of a folder, some of which others stand in for. */
export type Read = (file: string) => Uint8Array;

/** The folder as it is, then once for each of its negatives. */
export function withNegatives(
  folder: CaseFolder,
  base: string,
): { name: string; wanted: JsonObject; read: Read }[] {
  const cases = [
    { name: base, wanted: folder.expected, read: (file: string) => folder.read(file) },
  ];
  for (const item of asList(folder.expected.negatives ?? [], 'negatives')) {
    const wanted = asObject(item, 'negative');
    const name = asString(wanted.file, 'negative.file');
    const replaced = asString(wanted.replaces, 'negative.replaces');
    cases.push({ name, wanted, read: (file) => folder.read(file === replaced ? name : file) });
  }
  return cases;
}

/** `{"sha256": {"0": "hex"}}`, of the one bank in it. */
export function readPcrs(bytes: Uint8Array): PcrValues {
  const banks = asObject(JSON.parse(new TextDecoder().decode(bytes)) as Json, 'pcrs');
  const [values] = Object.values(banks);
  return new Map(
    Object.entries(asObject(values, 'pcrs')).map(([pcr, value]) => [
      Number(pcr),
      fromHex(asString(value, `pcrs.${pcr}`)),
    ]),
  );
}

/** DER SubjectPublicKeyInfo of a PEM file. */
export function readPublicKey(pem: Uint8Array): Uint8Array {
  const [block] = parsePem(pem);
  if (block?.label !== 'PUBLIC KEY') throw new Error('no public key in the PEM file');
  return block.der;
}

export interface QuoteFiles {
  readonly message: string;
  readonly signature: string;
  readonly pcrs: string;
  /** Azure stores the RSA signature alone. */
  readonly isRawSignature: boolean;
}

/** Signature, then digest of the values; the selection is compared field by field. */
export async function verifyQuote(
  read: Read,
  files: QuoteFiles,
  akSpki: Uint8Array,
): Promise<void> {
  const { quote, signature } = parseQuoteFiles(read, files);
  await verifyQuoteSignature(quote, signature, akSpki);
  verifyPcrDigest(quote, signature.hash, readPcrs(read(files.pcrs)));
}

/** Shape first, as where evidence is parsed. */
export function parseQuoteFiles(
  read: Read,
  files: QuoteFiles,
): { quote: TpmQuote; signature: TpmSignature } {
  const quote = parseQuote(read(files.message));
  const bytes = read(files.signature);
  return {
    quote,
    signature: files.isRawSignature ? rawRsaSignature(bytes) : parseTpmSignature(bytes),
  };
}
