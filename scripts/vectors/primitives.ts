import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  type VerifyKeyObjectInput,
  verify,
} from 'node:crypto';
import { gcm } from '@noble/ciphers/aes.js';

// Primitives that recorded vectors use and CVMP itself does not: other curves, hashes, ciphers.
// Each throws where the input is refused.

/** Tag at the end of `sealed`. */
export interface AeadInput {
  readonly cipher: 'gcm' | 'ccm' | 'chacha20-poly1305';
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
  readonly aad: Uint8Array;
  readonly sealed: Uint8Array;
  /** Bytes. */
  readonly tagLength: number;
}

export function aeadOpen(input: AeadInput): Uint8Array {
  const { cipher, key, iv, aad, sealed, tagLength } = input;
  if (cipher === 'chacha20-poly1305' && iv.length !== 12) throw new RangeError('nonce length');
  // OpenSSL takes IVs up to 128 bytes.
  if (cipher === 'gcm' && iv.length > 128) return gcm(key, iv, aad).decrypt(sealed);
  const name = cipher === 'chacha20-poly1305' ? cipher : `aes-${key.length * 8}-${cipher}`;
  const split = sealed.length - tagLength;
  if (split < 0) throw new RangeError('shorter than its tag');
  // One call site for three kinds of AEAD, which Node's types tell apart by literal names.
  const decipher = createDecipheriv(name as 'aes-256-ccm', key, iv, { authTagLength: tagLength });
  decipher.setAuthTag(sealed.subarray(split));
  decipher.setAAD(aad, { plaintextLength: split });
  const plaintext = decipher.update(sealed.subarray(0, split));
  decipher.final();
  return new Uint8Array(plaintext);
}

/** AES Key Wrap (RFC 3394), or with padding (RFC 5649). */
export function aesUnwrap(key: Uint8Array, wrapped: Uint8Array, padded = false): Uint8Array {
  const iv = Buffer.from(padded ? 'a65959a6' : 'a6a6a6a6a6a6a6a6', 'hex');
  const name = `id-aes${key.length * 8}-wrap${padded ? '-pad' : ''}`;
  const decipher = createDecipheriv(name, key, iv);
  return new Uint8Array(Buffer.concat([decipher.update(wrapped), decipher.final()]));
}

export function aesCbcOpen(key: Uint8Array, iv: Uint8Array, sealed: Uint8Array): Uint8Array {
  const decipher = createDecipheriv(`aes-${key.length * 8}-cbc`, key, iv);
  return new Uint8Array(Buffer.concat([decipher.update(sealed), decipher.final()]));
}

/** AES-CBC-MAC with a zero IV and zero padding (RFC 9053 s.3.2), cut to `length` bytes. */
export function aesCbcMac(key: Uint8Array, data: Uint8Array, length: number): Uint8Array {
  const padded = new Uint8Array(Math.ceil(data.length / 16) * 16);
  padded.set(data);
  const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, new Uint8Array(16));
  cipher.setAutoPadding(false);
  const blocks = cipher.update(padded);
  return new Uint8Array(blocks.subarray(blocks.length - 16, blocks.length - 16 + length));
}

/** @param hash a name of OpenSSL: sha256, sha3-256 */
export function hmac(hash: string, key: Uint8Array, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac(hash, key).update(data).digest());
}

export function hkdf(
  hash: string,
  keyMaterial: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  return new Uint8Array(hkdfSync(hash, keyMaterial, salt, info, length));
}

/** HKDF-Expand alone (RFC 5869 s.2.3) over any pseudorandom function. */
export function expand(
  prf: (data: Uint8Array) => Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  let block: Uint8Array = new Uint8Array();
  let out: Uint8Array = new Uint8Array();
  for (let n = 1; out.length < length; n++) {
    block = prf(Buffer.concat([block, info, Buffer.from([n])]));
    out = Buffer.concat([out, block]);
  }
  return new Uint8Array(out.subarray(0, length));
}

export type Jwk = Readonly<Record<string, string>>;

export function publicKeyOf(key: Uint8Array | Jwk): KeyObject {
  return key instanceof Uint8Array
    ? createPublicKey({ key: Buffer.from(key), format: 'der', type: 'spki' })
    : createPublicKey({ key: { ...key }, format: 'jwk' });
}

export function privateKeyOf(key: Uint8Array | Jwk): KeyObject {
  return key instanceof Uint8Array
    ? createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' })
    : createPrivateKey({ key: { ...key }, format: 'jwk' });
}

/** @param hash null for EdDSA */
export function signatureVerifies(
  hash: string | null,
  key: Omit<VerifyKeyObjectInput, 'key'> & { readonly key: KeyObject },
  signature: Uint8Array,
  data: Uint8Array,
): boolean {
  return verify(hash, data, key, signature);
}

export function agree(privateKey: KeyObject, publicKey: KeyObject): Uint8Array {
  return new Uint8Array(diffieHellman({ privateKey, publicKey }));
}
