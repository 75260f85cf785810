import { crypto } from '#crypto';
import { concat, equalBytes } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { type Bank, bankLength } from '../eventlog/replay.js';
import type { TpmQuote } from './attest.js';
import type { TpmSignature } from './signature.js';

/** PCR values by number. */
export type PcrValues = ReadonlyMap<number, Uint8Array>;

/**
 * Step 2 (protocol.md s.4): the AK signed the quote as received.
 * @param akSpki DER SubjectPublicKeyInfo of an AK that is trusted already
 * @throws CvmpError EVIDENCE_SIGNATURE_INVALID
 */
export async function verifyQuoteSignature(
  quote: TpmQuote,
  signature: TpmSignature,
  akSpki: Uint8Array,
): Promise<void> {
  if (await crypto.verify(signature.algorithm, akSpki, signature.bytes, quote.bytes)) return;
  throw new CvmpError('EVIDENCE_SIGNATURE_INVALID', 'the AK did not sign the TPM quote', {
    field: 'signature',
  });
}

/**
 * Step 5: exactly one bank, and not SHA-1. Which PCRs a policy asks for is appraised.
 * @throws CvmpError PCR_SELECTION
 */
export function requireBank({ selections }: TpmQuote): Bank {
  const [selection] = selections;
  const bank = selection?.bank;
  if (selections.length === 1 && (bank === 'sha256' || bank === 'sha384')) return bank;
  const found = selections.map((s) => s.bank).join(', ') || 'none';
  throw new CvmpError('PCR_SELECTION', `the quote is over banks ${found}`, {
    field: 'attest.pcr_select',
  });
}

/**
 * Step 6: the values are those that were quoted: as many as selected, and their digest.
 * Without the selection the same digest could be of other PCRs.
 * @param hash of the signature's scheme (TPM 2.0 Part 3, 18.4.1)
 * @throws CvmpError PCR_MISMATCH
 */
export function verifyPcrDigest(
  quote: TpmQuote,
  hash: TpmSignature['hash'],
  values: PcrValues,
): void {
  const selected = quote.selections.length === 1 ? (quote.selections[0]?.pcrs ?? []) : [];
  const inOrder = selected.map((pcr) => values.get(pcr));
  const known = inOrder.filter((value) => value !== undefined);
  if (known.length !== selected.length || values.size !== selected.length || values.size === 0) {
    throw new CvmpError('PCR_MISMATCH', `${values.size} PCR values for ${selected.length} quoted`, {
      field: 'pcrs',
    });
  }
  if (!equalBytes(crypto.hash(hash, concat(...known)), quote.pcrDigest)) {
    throw new CvmpError('PCR_MISMATCH', 'the digest of the PCR values is not the quoted one', {
      field: 'pcrs',
    });
  }
}

/** @throws CvmpError MALFORMED unless each value has the length of the bank */
export function requireLengths(values: PcrValues, bank: Bank): void {
  for (const [pcr, value] of values) {
    if (value.length === bankLength[bank]) continue;
    throw new CvmpError('MALFORMED', `PCR ${pcr} has ${value.length} bytes`, { field: 'pcrs' });
  }
}
