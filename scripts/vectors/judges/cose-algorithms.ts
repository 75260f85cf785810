import { ECDH } from 'node:crypto';
import { concat, fromHex, toBase64Url, utf8 } from '#core/bytes.js';
import { asBytes, asMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { asObject, asString, type JsonObject } from '../judge.js';
import type { AeadInput, Jwk } from '../primitives.js';

// COSE algorithms and keys as the WG's examples use them: more than CVMP accepts anywhere.

export interface SignatureRow {
  /** OpenSSL's name; null for EdDSA. */
  readonly hash: string | null;
  /** RSASSA-PSS with this salt length; ECDSA or EdDSA by the key otherwise. */
  readonly pssSalt?: number;
}

export const signatureRows: ReadonlyMap<number, SignatureRow> = new Map([
  [-7, { hash: 'sha256' }],
  [-9, { hash: 'sha256' }],
  [-47, { hash: 'sha256' }],
  [-35, { hash: 'sha384' }],
  [-51, { hash: 'sha384' }],
  [-36, { hash: 'sha512' }],
  [-52, { hash: 'sha512' }],
  [-8, { hash: null }],
  [-19, { hash: null }],
  [-53, { hash: null }],
  [-37, { hash: 'sha256', pssSalt: 32 }],
  [-38, { hash: 'sha384', pssSalt: 48 }],
  [-39, { hash: 'sha512', pssSalt: 64 }],
]);

export interface AeadRow {
  readonly cipher: AeadInput['cipher'];
  /** Bits. */
  readonly key: number;
  /** Bytes. */
  readonly tag: number;
  /** Bytes. */
  readonly iv: number;
}

const gcm = (key: number): AeadRow => ({ cipher: 'gcm', key, tag: 16, iv: 12 });
/** AES-CCM-lengthBits-tagBits-keyBits (RFC 9053 s.4.2). */
const ccm = (length: number, tag: number, key: number): AeadRow => ({
  cipher: 'ccm',
  key,
  tag: tag / 8,
  iv: 15 - length / 8,
});

export const aeadRows: ReadonlyMap<number, AeadRow> = new Map([
  [1, gcm(128)],
  [2, gcm(192)],
  [3, gcm(256)],
  [10, ccm(16, 64, 128)],
  [11, ccm(16, 64, 256)],
  [12, ccm(64, 64, 128)],
  [13, ccm(64, 64, 256)],
  [24, { cipher: 'chacha20-poly1305', key: 256, tag: 16, iv: 12 }],
  [30, ccm(16, 128, 128)],
  [31, ccm(16, 128, 256)],
  [32, ccm(64, 128, 128)],
  [33, ccm(64, 128, 256)],
]);

export interface MacRow {
  /** HMAC with this hash; AES-CBC-MAC where it is null. */
  readonly hash: string | null;
  /** Bits. */
  readonly key: number;
  /** Bytes. */
  readonly tag: number;
}

export const macRows: ReadonlyMap<number, MacRow> = new Map([
  [4, { hash: 'sha256', key: 256, tag: 8 }],
  [5, { hash: 'sha256', key: 256, tag: 32 }],
  [6, { hash: 'sha384', key: 384, tag: 48 }],
  [7, { hash: 'sha512', key: 512, tag: 64 }],
  [14, { hash: null, key: 128, tag: 8 }],
  [15, { hash: null, key: 256, tag: 8 }],
  [25, { hash: null, key: 128, tag: 16 }],
  [26, { hash: null, key: 256, tag: 16 }],
]);

/** Bits of key that an algorithm takes. */
export function keyBits(algorithm: number): number {
  const bits =
    aeadRows.get(algorithm)?.key ??
    macRows.get(algorithm)?.key ??
    { [-3]: 128, [-4]: 192, [-5]: 256 }[algorithm];
  if (bits === undefined) throw new Error(`no key length of algorithm ${algorithm}`);
  return bits;
}

/** A text or, under `<name>_hex`, hex member of an example. */
export function bytesMember(object: JsonObject, name: string): Uint8Array | undefined {
  const plain = object[name];
  if (typeof plain === 'string') return utf8(plain);
  const hex = object[`${name}_hex`];
  return typeof hex === 'string' ? fromHex(hex) : undefined;
}

/** The key of an example: a JWK in which members may be hex. */
export function jwkOf(value: JsonObject): Jwk {
  const jwk: Record<string, string> = {};
  for (const [name, member] of Object.entries(value)) {
    if (typeof member !== 'string') continue;
    if (name.endsWith('_hex')) jwk[name.slice(0, -4)] = toBase64Url(fromHex(member));
    else if (['kty', 'crv'].includes(name)) jwk[name] = member;
    // Some keys are in plain base64.
    else if (name !== 'kid') jwk[name] = Buffer.from(member, 'base64').toString('base64url');
  }
  return jwk;
}

/** The public half: Node refuses a private member where a public key is wanted. */
export function publicJwk(jwk: Jwk): Jwk {
  const secret = ['d', 'p', 'q', 'dp', 'dq', 'qi'];
  return Object.fromEntries(Object.entries(jwk).filter(([name]) => !secret.includes(name)));
}

export function symmetricKey(value: JsonObject): Uint8Array {
  return new Uint8Array(Buffer.from(asString(jwkOf(value).k, 'k'), 'base64url'));
}

export function keyMember(object: JsonObject, name = 'key'): JsonObject {
  return asObject(object[name], name);
}

const ecCurves: Readonly<Record<number, readonly [jwk: string, openssl: string]>> = {
  1: ['P-256', 'prime256v1'],
  2: ['P-384', 'secp384r1'],
  3: ['P-521', 'secp521r1'],
  8: ['secp256k1', 'secp256k1'],
};
const okpCurves: Readonly<Record<number, string>> = {
  4: 'X25519',
  5: 'X448',
  6: 'Ed25519',
  7: 'Ed448',
};

/** A public COSE_Key of any curve; a compressed y is expanded. */
export function coseKeyToJwk(value: CborValue | undefined): Jwk {
  const map = asMap(value, 'COSE_Key');
  const id = Number(map.get(-1));
  const x = asBytes(map.get(-2), 'x');
  if (map.get(1) === 1) return { kty: 'OKP', crv: okpCurves[id] ?? '', x: toBase64Url(x) };
  const [crv, openssl] = ecCurves[id] ?? ['', ''];
  const y = map.get(-3);
  const encoded = typeof y === 'boolean' ? concat(new Uint8Array([y ? 3 : 2]), x) : undefined;
  const whole = encoded && ECDH.convertKey(encoded, openssl, undefined, undefined, 'uncompressed');
  const yBytes = whole ? Buffer.from(whole).subarray(1 + x.length) : asBytes(y, 'y');
  return { kty: 'EC', crv, x: toBase64Url(x), y: toBase64Url(new Uint8Array(yBytes)) };
}
