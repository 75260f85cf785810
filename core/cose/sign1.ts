import { crypto } from '#crypto';
import { encode } from '../cbor/encode.js';
import { asBytes } from '../cbor/read.js';
import { Tag } from '../cbor/value.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { signatureAlgorithm, signingAlgorithm } from './algorithms.js';
import {
  algOf,
  type CoseHeaders,
  type HeadersToSet,
  label,
  protectedBucket,
  readHeaders,
} from './headers.js';
import type { EcPublicKey } from './key.js';
import { coseTag, messageElements, type ParseRules } from './message.js';

/** A parsed, not yet verified COSE_Sign1 (RFC 9052 s.4.2). */
export interface CoseSign1 {
  readonly headers: CoseHeaders;
  /** As received; null where it is detached. */
  readonly payload: Uint8Array | null;
  readonly signature: Uint8Array;
}

export interface SignRules {
  /** RFC 9052 s.4.3; empty unless told. */
  readonly externalAad?: Uint8Array;
}

export interface VerifySign1Rules extends SignRules {
  /** The payload of a detached object. */
  readonly detachedPayload?: Uint8Array;
  /** `either` takes `alg` from the unprotected bucket too (foreign objects only). */
  readonly algFrom?: 'protected' | 'either';
}

const nothing = new Uint8Array();

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL */
export function parseSign1(bytes: Uint8Array, rules: ParseRules = {}): CoseSign1 {
  const elements = messageElements(bytes, coseTag.sign1, 4, 'COSE_Sign1', rules);
  const [protectedValue, unprotected, payload, signature] = elements;
  const headers = readHeaders(protectedValue, unprotected, rules);
  if (rules.typ !== undefined && headers.protected.get(label.typ) !== rules.typ) {
    throw new CvmpError('MALFORMED', `COSE_Sign1 is not of type ${rules.typ}`, { field: 'typ' });
  }
  return {
    headers,
    payload: payload === null ? null : asBytes(payload, 'payload'),
    signature: asBytes(signature, 'signature'),
  };
}

/**
 * Verifies over the bytes as received.
 * @returns the payload that was signed
 * @throws CvmpError SIGNATURE_INVALID, UNSUPPORTED_ALGORITHM, MALFORMED (no payload at all, or two)
 */
export async function verifySign1(
  message: CoseSign1,
  key: EcPublicKey,
  rules: VerifySign1Rules = {},
): Promise<Uint8Array> {
  const algorithm = signatureAlgorithm(algOf(message.headers, rules.algFrom ?? 'protected'));
  if ((message.payload === null) === (rules.detachedPayload === undefined)) {
    throw new CvmpError('MALFORMED', 'COSE_Sign1: the payload is either inside or detached');
  }
  const payload = message.payload ?? rules.detachedPayload ?? nothing;
  const signed = sigStructure(message.headers.protectedBytes, payload, rules.externalAad);
  const sound =
    algorithm.curve === key.curve &&
    (await crypto.verify(algorithm.primitive, key.spki, message.signature, signed));
  if (!sound) throw new CvmpError('SIGNATURE_INVALID', 'COSE_Sign1: the signature does not verify');
  return payload;
}

/** {@link parseSign1}, then {@link verifySign1}: the payload and the headers of a sound object. */
export async function openSign1(
  bytes: Uint8Array,
  key: EcPublicKey,
  rules: ParseRules & VerifySign1Rules = {},
): Promise<{ readonly payload: Uint8Array; readonly headers: CoseHeaders }> {
  const message = parseSign1(bytes, rules);
  return { payload: await verifySign1(message, key, rules), headers: message.headers };
}

/**
 * Makes a tagged COSE_Sign1 with the payload inside; ES256 or ES384 by the key's curve.
 * @param where see Crypto.sign
 */
export async function sign1(
  key: EcPrivateKey,
  payload: Uint8Array,
  headers: HeadersToSet = {},
  rules: SignRules = {},
  where?: 'aside',
): Promise<Uint8Array> {
  const bucket = protectedBucket(signingAlgorithm(key.curve).id, headers.protected);
  const signature = await crypto.sign(key, sigStructure(bucket, payload, rules.externalAad), where);
  return encode(
    new Tag(coseTag.sign1, [bucket, headers.unprotected ?? new Map(), payload, signature]),
  );
}

/** Sig_structure of COSE_Sign1 (RFC 9052 s.4.4). */
function sigStructure(
  protectedBytes: Uint8Array,
  payload: Uint8Array,
  externalAad: Uint8Array = nothing,
): Uint8Array {
  return encode(['Signature1', protectedBytes, externalAad, payload]);
}
