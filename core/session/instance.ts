import { equalBytes } from '../bytes.js';
import type { CborKey, CborValue } from '../cbor/value.js';
import { label } from '../cose/headers.js';
import { type EcPublicKey, thumbprint } from '../cose/key.js';
import { openSign1, sign1 } from '../cose/sign1.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { messageType } from './messages.js';

/** A key that one run of an agent made, which names the instance where its evidence names none. */
export interface ClaimedInstance {
  readonly key: EcPublicKey;
  /** COSE_Sign1 by it over the 64 bytes of the Binding. */
  readonly proof: Uint8Array;
}

/** Shows that the agent holds its instance key in this session. @param bound 64 bytes */
export function proveInstance(key: EcPrivateKey, bound: Uint8Array): Promise<Uint8Array> {
  return sign1(key, bound, {
    protected: new Map<CborKey, CborValue>([[label.typ, messageType.instance]]),
  });
}

/**
 * The name of the instance: thumbprint of the key that it holds (32 bytes). Its evidence, found to be
 * over the same Binding, says that the key is this CVM's.
 * @param bound what the evidence carries, 64 bytes
 * @throws CvmpError SIGNATURE_INVALID, BINDING_MISMATCH, MALFORMED
 */
export async function provenInstance(
  claimed: ClaimedInstance | undefined,
  bound: Uint8Array,
): Promise<Uint8Array | undefined> {
  if (claimed === undefined) return undefined;
  const { payload } = await openSign1(claimed.proof, claimed.key, { typ: messageType.instance });
  if (equalBytes(payload, bound)) return thumbprint(claimed.key);
  const what = 'the proof of the instance key is of another session';
  throw new CvmpError('BINDING_MISMATCH', what, { field: 'evidence.instance_proof' });
}
