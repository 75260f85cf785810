import { crypto } from '#crypto';
import { encode } from '../cbor/encode.js';
import { asArray, asBytes } from '../cbor/read.js';
import { type CborMap, Tag } from '../cbor/value.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { signatureAlgorithm, signingAlgorithm } from './algorithms.js';
import { algOf, type CoseHeaders, label, protectedBucket, readHeaders } from './headers.js';
import { type EcPublicKey, ecPublicKey, thumbprint } from './key.js';
import { coseTag, messageElements, type ParseRules } from './message.js';
import type { VerifySign1Rules } from './sign1.js';

/** One signature of a COSE_Sign (RFC 9052 s.4.1). */
export interface CoseSignature {
  readonly headers: CoseHeaders;
  readonly signature: Uint8Array;
}

/** A parsed, not yet verified COSE_Sign (RFC 9052 s.4.1): one payload, one to 32 signatures. */
export interface CoseSign {
  readonly headers: CoseHeaders;
  /** As received; null where it is detached. */
  readonly payload: Uint8Array | null;
  readonly signatures: readonly CoseSignature[];
}

/** Signatures that one object may carry: no committee is larger. */
export const signaturesMax = 32;

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL */
export function parseSign(bytes: Uint8Array, rules: ParseRules = {}): CoseSign {
  const elements = messageElements(bytes, coseTag.sign, 4, 'COSE_Sign', rules);
  const [protectedValue, unprotected, payload, signatures] = elements;
  const headers = readHeaders(protectedValue, unprotected, rules);
  if (rules.typ !== undefined && headers.protected.get(label.typ) !== rules.typ) {
    throw new CvmpError('MALFORMED', `COSE_Sign is not of type ${rules.typ}`, { field: 'typ' });
  }
  return {
    headers,
    payload: payload === null ? null : asBytes(payload, 'payload'),
    signatures: asArray(signatures, 'signatures', { min: 1, max: signaturesMax }).map((item, i) => {
      const field = `signatures[${i}]`;
      const [bucket, map, signature] = asArray(item, field, { length: 3 });
      return {
        headers: readHeaders(bucket, map, rules),
        signature: asBytes(signature, `${field}.signature`),
      };
    }),
  };
}

/**
 * Verifies one signature over the bytes as received.
 * @returns the payload that was signed
 * @throws CvmpError SIGNATURE_INVALID, UNSUPPORTED_ALGORITHM, MALFORMED (no payload at all, or two)
 */
export async function verifySignature(
  message: CoseSign,
  { headers, signature }: CoseSignature,
  key: EcPublicKey,
  rules: VerifySign1Rules = {},
): Promise<Uint8Array> {
  const algorithm = signatureAlgorithm(algOf(headers, rules.algFrom ?? 'protected'));
  const payload = message.payload ?? rules.detachedPayload;
  if ((message.payload === null) === (rules.detachedPayload === undefined) || !payload) {
    throw new CvmpError('MALFORMED', 'COSE_Sign: the payload is either inside or detached');
  }
  const signed = sigStructure(
    message.headers.protectedBytes,
    headers.protectedBytes,
    payload,
    rules.externalAad,
  );
  const sound =
    algorithm.curve === key.curve &&
    (await crypto.verify(algorithm.primitive, key.spki, signature, signed));
  if (!sound) throw new CvmpError('SIGNATURE_INVALID', 'COSE_Sign: a signature does not verify');
  return payload;
}

/**
 * Makes a tagged COSE_Sign with the payload inside; each signature names its key by `kid` =
 * thumbprint in its protected bucket.
 * @param protectedHeaders of the body (`typ`); `alg` stands with each signature
 */
export async function sign(
  keys: readonly EcPrivateKey[],
  payload: Uint8Array,
  protectedHeaders: CborMap = new Map(),
): Promise<Uint8Array> {
  const body = protectedHeaders.size === 0 ? new Uint8Array() : encode(protectedHeaders);
  const made = await Promise.all(keys.map((key) => signatureOf(key, body, payload)));
  return encode(new Tag(coseTag.sign, [body, new Map(), payload, made]));
}

/** The same object with one signature more; those that are there are kept as they are. */
export async function addSignature(
  message: CoseSign,
  key: EcPrivateKey,
  rules: Pick<VerifySign1Rules, 'detachedPayload'> = {},
): Promise<Uint8Array> {
  const { headers, payload } = message;
  const signed = payload ?? rules.detachedPayload;
  if (signed === undefined) throw new CvmpError('MALFORMED', 'COSE_Sign: there is no payload');
  const made = await signatureOf(key, headers.protectedBytes, signed);
  const there = message.signatures.map(({ headers: own, signature }) => [
    own.protectedBytes,
    own.unprotected,
    signature,
  ]);
  const elements = [headers.protectedBytes, headers.unprotected, payload, [...there, made]];
  return encode(new Tag(coseTag.sign, elements));
}

/** COSE_Signature (RFC 9052 s.4.1). */
async function signatureOf(key: EcPrivateKey, body: Uint8Array, payload: Uint8Array) {
  const kid = thumbprint(ecPublicKey(key.curve, key.publicPoint));
  const bucket = protectedBucket(signingAlgorithm(key.curve).id, new Map([[label.kid, kid]]));
  return [bucket, new Map(), await crypto.sign(key, sigStructure(body, bucket, payload))];
}

/** Sig_structure of COSE_Sign (RFC 9052 s.4.4). */
function sigStructure(
  body: Uint8Array,
  signer: Uint8Array,
  payload: Uint8Array,
  externalAad: Uint8Array = new Uint8Array(),
): Uint8Array {
  return encode(['Signature', body, signer, externalAad, payload]);
}
