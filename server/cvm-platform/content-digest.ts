import { encode } from '#core/cbor/encode.js';
import type { CborValue } from '#core/cbor/value.js';
import { crypto } from '#crypto';

/**
 * SHA-256 over the deterministic CBOR of a plain value: objects are maps by the names of their
 * members, absent members are left out. Equal content gives equal digests, however it was sent.
 */
export function contentDigest(value: object): Uint8Array {
  return crypto.hash('sha256', encode(cborOf(value)));
}

function cborOf(value: unknown): CborValue {
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(cborOf);
  if (value instanceof Map) return new Map([...value].map(([key, v]) => [key, cborOf(v)]));
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    return new Map(members.map(([name, member]) => [name, cborOf(member)]));
  }
  return value as CborValue;
}
