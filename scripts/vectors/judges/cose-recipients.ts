import { constants, privateDecrypt } from 'node:crypto';
import { encode } from '#core/cbor/encode.js';
import { asBytes } from '#core/cbor/read.js';
import type { CborKey, CborValue } from '#core/cbor/value.js';
import { algOf, type CoseHeaders, headerOf } from '#core/cose/headers.js';
import { asObject, type JsonObject } from '../judge.js';
import * as node from '../primitives.js';
import {
  bytesMember,
  coseKeyToJwk,
  jwkOf,
  keyBits,
  keyMember,
  publicJwk,
  symmetricKey,
} from './cose-algorithms.js';

/** A COSE_recipient (RFC 9052 s.5.1) and what its example says about it. */
export interface Recipient {
  readonly headers: CoseHeaders;
  readonly ciphertext: Uint8Array;
  readonly example: JsonObject;
}

type Kdf = (secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number) => Uint8Array;

const hkdf =
  (hash: string): Kdf =>
  (secret, salt, info, length) =>
    node.hkdf(hash, secret, salt, info, length);

/** HKDF whose PRF is AES-CBC-MAC: only its second half is used (RFC 9053 s.5.1). */
const hkdfAes: Kdf = (secret, _, info, length) =>
  node.expand((data) => node.aesCbcMac(secret, data, 16), info, length);

interface AgreementRow {
  readonly secret: 'shared' | 'agreed';
  readonly kdf: Kdf;
  /** The key wrap algorithm behind the derivation. */
  readonly wrap?: number;
}

/** Recipient algorithms with a derivation (RFC 9053 s.6.1.2, s.6.3, s.6.4). */
const derivations: ReadonlyMap<number, AgreementRow> = new Map([
  [-10, { secret: 'shared', kdf: hkdf('sha256') }],
  [-11, { secret: 'shared', kdf: hkdf('sha512') }],
  [-12, { secret: 'shared', kdf: hkdfAes }],
  [-13, { secret: 'shared', kdf: hkdfAes }],
  [-25, { secret: 'agreed', kdf: hkdf('sha256') }],
  [-26, { secret: 'agreed', kdf: hkdf('sha512') }],
  [-27, { secret: 'agreed', kdf: hkdf('sha256') }],
  [-28, { secret: 'agreed', kdf: hkdf('sha512') }],
  [-29, { secret: 'agreed', kdf: hkdf('sha256'), wrap: -3 }],
  [-30, { secret: 'agreed', kdf: hkdf('sha256'), wrap: -4 }],
  [-31, { secret: 'agreed', kdf: hkdf('sha256'), wrap: -5 }],
  [-32, { secret: 'agreed', kdf: hkdf('sha256'), wrap: -3 }],
  [-33, { secret: 'agreed', kdf: hkdf('sha256'), wrap: -4 }],
  [-34, { secret: 'agreed', kdf: hkdf('sha256'), wrap: -5 }],
] satisfies [number, AgreementRow][]);

const oaepHash: ReadonlyMap<number, string> = new Map([
  [-40, 'sha1'],
  [-41, 'sha256'],
  [-42, 'sha512'],
]);

/** The content encryption key that a recipient gives for `algorithm`. */
export function contentKey(recipient: Recipient, algorithm: number): Uint8Array {
  const { headers, ciphertext, example } = recipient;
  const alg = Number(algOf(headers, 'either'));
  if (alg === -6) return symmetricKey(keyMember(example));
  if (alg >= -5 && alg <= -3) return node.aesUnwrap(symmetricKey(keyMember(example)), ciphertext);
  const hash = oaepHash.get(alg);
  if (hash !== undefined) {
    const key = node.privateKeyOf(jwkOf(keyMember(example)));
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return new Uint8Array(privateDecrypt({ key, padding, oaepHash: hash }, ciphertext));
  }
  const row = derivations.get(alg);
  if (row === undefined) throw new Error(`recipient algorithm ${alg}`);
  const use = row.wrap ?? algorithm;
  const salt = member(recipient, -20, 'salt') ?? new Uint8Array();
  const info = kdfContext(recipient, use);
  const derived = row.kdf(secretOf(recipient, row), salt, info, keyBits(use) / 8);
  return row.wrap === undefined ? derived : node.aesUnwrap(derived, ciphertext);
}

function secretOf(recipient: Recipient, row: AgreementRow): Uint8Array {
  const { headers, example } = recipient;
  if (row.secret === 'shared') return symmetricKey(keyMember(example));
  const sent = headerOf(headers, -1) ?? headerOf(headers, -2);
  // A sender known by its kid: the example holds its key.
  const sender =
    sent === undefined ? publicJwk(jwkOf(keyMember(example, 'sender_key'))) : coseKeyToJwk(sent);
  return node.agree(node.privateKeyOf(jwkOf(keyMember(example))), node.publicKeyOf(sender));
}

/** A value that is sent in a header, or known to both sides (`unsent`). */
function member(recipient: Recipient, label: CborKey, name: string): Uint8Array | undefined {
  const sent = headerOf(recipient.headers, label);
  if (sent !== undefined) return asBytes(sent, name);
  const unsent = recipient.example.unsent;
  return unsent === undefined ? undefined : bytesMember(asObject(unsent, 'unsent'), name);
}

/** COSE_KDF_Context (RFC 9053 s.5.2). */
function kdfContext(recipient: Recipient, algorithm: number): Uint8Array {
  const value = (label: number, name: string): CborValue => member(recipient, label, name) ?? null;
  const other = member(recipient, 'none', 'pub_other');
  const secret = member(recipient, 'none', 'priv_other');
  return encode([
    algorithm,
    [value(-21, 'apu_id'), value(-22, 'apu_nonce'), value(-23, 'apu_other')],
    [value(-24, 'apv_id'), value(-25, 'apv_nonce'), value(-26, 'apv_other')],
    [keyBits(algorithm), recipient.headers.protectedBytes, ...(other ? [other] : [])],
    ...(secret ? [secret] : []),
  ]);
}
