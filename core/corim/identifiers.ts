import { toHex } from '../bytes.js';
import { asArray, asBytes, asInteger, asMap, asText } from '../cbor/read.js';
import { type CborMap, type CborValue, Tag } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import { tagOf } from './tags.js';

/** What names a class, an instance, a group or a measured element. */
export type Identifier =
  | { readonly type: 'oid'; readonly value: string }
  | { readonly type: 'uuid'; readonly value: string }
  | { readonly type: 'text'; readonly value: string }
  | { readonly type: 'uint'; readonly value: number }
  | { readonly type: 'ueid' | 'bytes' | 'impl-id'; readonly value: Uint8Array }
  | { readonly type: 'psa-refval-id'; readonly value: CborMap }
  | { readonly type: 'key'; readonly value: CryptoKey };

/** A key, a certificate or a thumbprint of one (`$crypto-key-type-choice`). */
export type CryptoKey =
  | {
      readonly type: 'pkix-base64-key' | 'pkix-base64-cert' | 'pkix-base64-cert-path';
      readonly value: string;
    }
  | { readonly type: 'cose-key'; readonly value: CborMap | Uint8Array | readonly CborValue[] }
  | { readonly type: 'pkix-asn1der-cert' | 'bytes'; readonly value: Uint8Array }
  | {
      readonly type: 'key-thumbprint' | 'cert-thumbprint' | 'cert-path-thumbprint';
      readonly value: Digest;
    };

/** `[alg, val]`: an id of IANA "Named Information Hash Algorithm", or a text. */
export interface Digest {
  readonly alg: number | string;
  readonly value: Uint8Array;
}

const textMax = { max: 4096 };
const keyTextMax = { min: 1, max: 1 << 16 };
/** Digests and keys of one element at most. */
export const listMax = 1024;

const malformed = (field: string, what: string) =>
  new CvmpError('MALFORMED', `${field} is not ${what}`, { field });

/** An object identifier from its BER content octets (RFC 9090), in dotted form. */
export function readOid(value: CborValue, field: string): string {
  const bytes = asBytes(value, field, { min: 1, max: 128 });
  // Some makers put the whole element there, tag and length included.
  const whole = bytes.length > 2 && bytes[0] === 6 && bytes[1] === bytes.length - 2;
  const body = whole ? bytes.subarray(2) : bytes;
  const arcs: bigint[] = [];
  let arc = 0n;
  let fresh = true;
  for (const octet of body) {
    if (fresh && octet === 0x80) throw malformed(field, 'an OID in its shortest form');
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    fresh = (octet & 0x80) === 0;
    if (!fresh) continue;
    arcs.push(arc);
    arc = 0n;
  }
  if (!fresh) throw malformed(field, 'a whole OID');
  const [first = 0n, ...rest] = arcs;
  const root = first < 80n ? first / 40n : 2n;
  return [root, first - root * 40n, ...rest].join('.');
}

/** 16 bytes, in the form of RFC 9562. */
export function readUuid(value: CborValue, field: string): string {
  const hex = toHex(asBytes(value, field, { length: 16 }));
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** A text, tagged as a URI. Older makers leave the tag out. */
export function readUri(value: CborValue | undefined, field: string): string {
  const text = value instanceof Tag && value.tag === tagOf.uri ? value.value : value;
  return asText(text, field, { min: 1, max: 4096 });
}

/** A profile is a URI or an OID; drafts before -05 have a list of one. */
export function readProfile(value: CborValue, field: string): string {
  if (Array.isArray(value)) return readProfile(asArray(value, field, { length: 1 })[0]!, field);
  if (value instanceof Tag && value.tag === tagOf.oid) return readOid(value.value, field);
  return readUri(value, field);
}

/** `tstr / uuid-type`: a UUID is bare bytes here. */
export function readTagId(value: CborValue, field: string): string {
  if (typeof value === 'string') return asText(value, field, { min: 1, max: 4096 });
  const bytes = value instanceof Tag && value.tag === tagOf.uuid ? value.value : value;
  return readUuid(bytes, field);
}

/** Seconds since 1970 under tag 1, or bare as some makers write it; milliseconds. */
export function readTime(value: CborValue, field: string): number {
  const seconds = value instanceof Tag && value.tag === tagOf.time ? value.value : value;
  return asInteger(seconds, field, { max: 253_402_300_799 }) * 1000;
}

/** Reads any of the identifiers that the tags of `allowed` stand for. */
export function readIdentifier(
  value: CborValue,
  field: string,
  allowed: readonly (Identifier['type'] | 'any')[],
): Identifier {
  const found = identifier(value, field);
  if (allowed.includes('any') || allowed.includes(found.type)) return found;
  throw malformed(field, `one of ${allowed.join(', ')}`);
}

function identifier(value: CborValue, field: string): Identifier {
  if (typeof value === 'string') return { type: 'text', value: asText(value, field, textMax) };
  if (typeof value === 'number') return { type: 'uint', value: asInteger(value, field) };
  if (!(value instanceof Tag)) throw malformed(field, 'an identifier');
  switch (value.tag) {
    case tagOf.oid:
      return { type: 'oid', value: readOid(value.value, field) };
    case tagOf.uuid:
      return { type: 'uuid', value: readUuid(value.value, field) };
    case tagOf.bytes:
      return { type: 'bytes', value: asBytes(value.value, field, { max: 4096 }) };
    case tagOf.ueid:
      return { type: 'ueid', value: asBytes(value.value, field, { min: 7, max: 33 }) };
    case tagOf.implementationId:
      return { type: 'impl-id', value: asBytes(value.value, field, { length: 32 }) };
    case tagOf.psaRefvalId:
      return { type: 'psa-refval-id', value: asMap(value.value, field) };
    case tagOf.ccaPlatformConfigId:
      return { type: 'text', value: asText(value.value, field, textMax) };
    default:
      return { type: 'key', value: readCryptoKey(value, field) };
  }
}

/** @throws CvmpError MALFORMED, SIZE */
export function readCryptoKey(value: CborValue, field: string): CryptoKey {
  if (!(value instanceof Tag)) throw malformed(field, 'a tagged key');
  const { tag, value: inner } = value;
  switch (tag) {
    case tagOf.pkixBase64Key:
      return { type: 'pkix-base64-key', value: asText(inner, field, keyTextMax) };
    case tagOf.pkixBase64Cert:
      return { type: 'pkix-base64-cert', value: asText(inner, field, keyTextMax) };
    case tagOf.pkixBase64CertPath:
      return { type: 'pkix-base64-cert-path', value: asText(inner, field, keyTextMax) };
    case tagOf.coseKey:
      return {
        type: 'cose-key',
        // Drafts before -03 admit a set of keys here.
        value:
          inner instanceof Uint8Array || Array.isArray(inner)
            ? (inner as Uint8Array | readonly CborValue[])
            : asMap(inner, field),
      };
    case tagOf.keyThumbprint:
      return { type: 'key-thumbprint', value: readDigest(inner, field) };
    case tagOf.certThumbprint:
      return { type: 'cert-thumbprint', value: readDigest(inner, field) };
    case tagOf.certPathThumbprint:
      return { type: 'cert-path-thumbprint', value: readDigest(inner, field) };
    case tagOf.pkixAsn1DerCert:
      return { type: 'pkix-asn1der-cert', value: asBytes(inner, field, { min: 1 }) };
    case tagOf.bytes:
      return { type: 'bytes', value: asBytes(inner, field, { max: 4096 }) };
    default:
      throw malformed(field, `a key (CBOR tag ${tag})`);
  }
}

/** A list of at least one key. */
export function readCryptoKeys(value: CborValue, field: string): readonly CryptoKey[] {
  return asArray(value, field, { min: 1, max: listMax }).map((item, i) =>
    readCryptoKey(item, `${field}[${i}]`),
  );
}

/** Lengths of the hashes whose digests CVMP compares, by their IANA ids. */
const digestLengths: Readonly<Record<number, number>> = {
  1: 32,
  2: 16,
  3: 15,
  4: 12,
  5: 8,
  6: 4,
  7: 48,
  8: 64,
  9: 28,
  10: 32,
  11: 48,
  12: 64,
};

/** @throws CvmpError MALFORMED, SIZE (also where a known hash has another length) */
export function readDigest(value: CborValue, field: string): Digest {
  const parts = asArray(value, field, { length: 2 });
  const alg =
    typeof parts[0] === 'string'
      ? asText(parts[0], `${field}.alg`, { min: 1, max: 64 })
      : asInteger(parts[0], `${field}.alg`, { min: -0x8000_0000 });
  const digest = asBytes(parts[1], `${field}.val`, { min: 1, max: 1024 });
  const length = typeof alg === 'number' ? digestLengths[alg] : undefined;
  if (length !== undefined && digest.length !== length) {
    const what = `${field} has ${digest.length} bytes, not the ${length} of its hash ${alg}`;
    throw new CvmpError('SIZE', what, { field });
  }
  return { alg, value: digest };
}

/** @throws CvmpError MALFORMED, SIZE */
export function readDigests(value: CborValue, field: string): readonly Digest[] {
  return asArray(value, field, { min: 1, max: listMax }).map((item, i) =>
    readDigest(item, `${field}[${i}]`),
  );
}
