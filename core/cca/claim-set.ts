import { decode } from '../cbor/decode.js';
import { asArray, asBytes, asInteger, asMap, asText, type LengthRule } from '../cbor/read.js';
import type { CborMap, CborValue } from '../cbor/value.js';
import type { HashName } from '../crypto.js';
import { CvmpError } from '../errors.js';

/** Hash algorithms by their IANA names, which CCA tokens use. */
const hashes: Readonly<Record<string, HashName>> = {
  'sha-256': 'sha256',
  'sha-384': 'sha384',
  'sha-512': 'sha512',
};

export const hashLength: Record<HashName, number> = { sha256: 32, sha384: 48, sha512: 64 };

/** The claims of one part of a token. Claims that CVMP does not know are read over. */
export class ClaimSet {
  readonly #map: CborMap;
  readonly #field: string;

  /** @throws CvmpError MALFORMED, SIZE */
  constructor(source: Uint8Array | CborValue, field: string) {
    const value =
      source instanceof Uint8Array ? decode(source, { field, canonical: false }) : source;
    this.#map = asMap(value, field);
    this.#field = field;
  }

  has(key: number): boolean {
    return this.#map.has(key);
  }

  bytes(key: number, name: string, rule: LengthRule): Uint8Array {
    return asBytes(this.#map.get(key), this.#path(name), rule);
  }

  text(key: number, name: string): string {
    return asText(this.#map.get(key), this.#path(name), { max: 1024 });
  }

  integer(key: number, name: string, max: number): number {
    return asInteger(this.#map.get(key), this.#path(name), { max });
  }

  list<T>(key: number, name: string, rule: LengthRule, read: (item: CborValue) => T): T[] {
    return asArray(this.#map.get(key), this.#path(name), rule).map(read);
  }

  /** @throws CvmpError MALFORMED, UNSUPPORTED_ALGORITHM */
  hash(key: number, name: string): HashName {
    const found = this.text(key, name);
    const hash = hashes[found];
    if (hash !== undefined) return hash;
    const field = this.#path(name);
    throw new CvmpError('UNSUPPORTED_ALGORITHM', `${field} is ${found}`, { field });
  }

  /** @throws CvmpError UNSUPPORTED_VERSION */
  requireProfile(key: number, known: readonly RegExp[]): void {
    const profile = this.text(key, 'profile');
    if (known.some((pattern) => pattern.test(profile))) return;
    const field = this.#path('profile');
    throw new CvmpError('UNSUPPORTED_VERSION', `${field} is ${profile}`, { field });
  }

  #path(name: string): string {
    return `${this.#field}.${name}`;
  }
}
