import { crypto } from '#crypto';
import { encode } from '../cbor/encode.js';
import { asBytes } from '../cbor/read.js';
import { Tag } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import { aeadAlgorithm } from './algorithms.js';
import {
  algOf,
  type CoseHeaders,
  type HeadersToSet,
  headerOf,
  label,
  protectedBucket,
  readHeaders,
} from './headers.js';
import { coseTag, messageElements, type ParseRules } from './message.js';

/** A parsed COSE_Encrypt0 (RFC 9052 s.5.2). */
export interface CoseEncrypt0 {
  readonly headers: CoseHeaders;
  /** With the 16-byte tag at its end. */
  readonly ciphertext: Uint8Array;
}

export interface AeadRules {
  /** RFC 9052 s.5.3; empty unless told. */
  readonly externalAad?: Uint8Array;
}

export interface OpenEncrypt0Rules extends AeadRules {
  /** `either` takes `alg` from the unprotected bucket too (foreign objects only). */
  readonly algFrom?: 'protected' | 'either';
}

const nothing = new Uint8Array();
const ivLength = 12;

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL */
export function parseEncrypt0(bytes: Uint8Array, rules: ParseRules = {}): CoseEncrypt0 {
  const elements = messageElements(bytes, coseTag.encrypt0, 3, 'COSE_Encrypt0', rules);
  const [protectedValue, unprotected, ciphertext] = elements;
  return {
    headers: readHeaders(protectedValue, unprotected, rules),
    ciphertext: asBytes(ciphertext, 'ciphertext'),
  };
}

/**
 * Opens a COSE_Encrypt0 whose `iv` header holds the whole 12-byte IV.
 * @param key of exactly the length that the protected `alg` asks
 * @throws CvmpError DECRYPT_FAILED, UNSUPPORTED_ALGORITHM, SIZE
 */
export function openEncrypt0(
  message: CoseEncrypt0,
  key: Uint8Array,
  rules: OpenEncrypt0Rules = {},
): Uint8Array {
  const algorithm = aeadAlgorithm(algOf(message.headers, rules.algFrom ?? 'protected'));
  if (key.length !== algorithm.keyLength) {
    throw new CvmpError('DECRYPT_FAILED', `COSE_Encrypt0: the key is not one of ${algorithm.name}`);
  }
  const iv = asBytes(headerOf(message.headers, label.iv), 'iv', { length: ivLength });
  const aad = encStructure(message.headers.protectedBytes, rules.externalAad);
  return crypto.aesGcmOpen(key, iv, message.ciphertext, aad);
}

/**
 * Makes a tagged COSE_Encrypt0 with AES-GCM of the key's length (16, 24 or 32 bytes).
 * @param iv 12 bytes, never used twice under one key
 */
export function encrypt0(
  key: Uint8Array,
  iv: Uint8Array,
  plaintext: Uint8Array,
  headers: HeadersToSet = {},
  rules: AeadRules = {},
): Uint8Array {
  const id = key.length / 8 - 1;
  const bucket = protectedBucket(aeadAlgorithm(id).id, headers.protected);
  const aad = encStructure(bucket, rules.externalAad);
  return encode(
    new Tag(coseTag.encrypt0, [
      bucket,
      new Map([...(headers.unprotected ?? []), [label.iv, iv]]),
      crypto.aesGcmSeal(key, iv, plaintext, aad),
    ]),
  );
}

/** Enc_structure of COSE_Encrypt0 (RFC 9052 s.5.3). */
export function encStructure(
  protectedBytes: Uint8Array,
  externalAad: Uint8Array = nothing,
): Uint8Array {
  return encode(['Encrypt0', protectedBytes, externalAad]);
}
