import { crypto } from '#crypto';
import type { HashName, HmacKey } from './crypto.js';
import { CvmpError } from './errors.js';

const hashLength: Record<HashName, number> = { sha256: 32, sha384: 48, sha512: 64 };

/** HKDF-Extract (RFC 5869 s.2.2): a pseudorandom key of the hash's length. */
export function hkdfExtract(hash: HashName, salt: Uint8Array, keyMaterial: Uint8Array): Uint8Array {
  return crypto.hmac(
    hash,
    salt.length === 0 ? new Uint8Array(hashLength[hash]) : salt,
    keyMaterial,
  );
}

/**
 * HKDF-Expand (RFC 5869 s.2.3). Built on HMAC because that costs half of the platform's own HKDF.
 * @param length bytes, at most 255 times the hash's length
 * @throws CvmpError SIZE
 */
export function hkdfExpand(
  hash: HashName,
  pseudorandomKey: Uint8Array | HmacKey,
  info: Uint8Array,
  length: number,
): Uint8Array {
  if (length > 255 * hashLength[hash]) {
    throw new CvmpError('SIZE', `HKDF gives at most ${255 * hashLength[hash]} bytes`);
  }
  const out = new Uint8Array(length);
  let block: Uint8Array = new Uint8Array();
  for (let at = 0, n = 1; at < length; n++) {
    const previous = block;
    block = crypto.hmac(hash, pseudorandomKey, previous, info, new Uint8Array([n]));
    previous.fill(0);
    out.set(block.subarray(0, length - at), at);
    at += block.length;
  }
  block.fill(0);
  return out;
}
