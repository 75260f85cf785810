import { CvmpError } from '../errors.js';
import { decode } from './decode.js';
import type { CborKey, CborMap, CborValue } from './value.js';

export interface LengthRule {
  /** Exactly so many bytes. */
  readonly length?: number;
  readonly min?: number;
  readonly max?: number;
}

export interface IntegerRule {
  readonly min?: number;
  readonly max?: number;
}

function wrong(field: string, what: string): CvmpError {
  return new CvmpError('MALFORMED', `${field} is not ${what}`, { field });
}

function fits(length: number, rule: LengthRule, field: string, unit: string): void {
  const min = rule.length ?? rule.min ?? 0;
  const max = rule.length ?? rule.max ?? Number.POSITIVE_INFINITY;
  if (length < min || length > max) {
    const asked = min === max ? `${min}` : `${min} to ${max}`;
    throw new CvmpError('SIZE', `${field} has ${length} ${unit}, not ${asked}`, { field });
  }
}

/** An integer within 2^53; 0 or more unless `min` says otherwise. @throws CvmpError MALFORMED, SIZE */
export function asInteger(
  value: CborValue | undefined,
  field: string,
  rule: IntegerRule = {},
): number {
  if (typeof value !== 'number') throw wrong(field, 'an integer');
  const min = rule.min ?? 0;
  const max = rule.max ?? Number.MAX_SAFE_INTEGER;
  if (value < min || value > max) {
    throw new CvmpError('SIZE', `${field} is ${value}, not ${min} to ${max}`, { field });
  }
  return value;
}

/** An unsigned 64-bit integer. @throws CvmpError MALFORMED */
export function asUint64(value: CborValue | undefined, field: string): bigint {
  const isInteger = typeof value === 'number' || typeof value === 'bigint';
  if (!isInteger || value < 0) throw wrong(field, 'an unsigned integer');
  return BigInt(value);
}

/** @throws CvmpError MALFORMED, SIZE */
export function asBytes(
  value: CborValue | undefined,
  field: string,
  rule: LengthRule = {},
): Uint8Array {
  if (!(value instanceof Uint8Array)) throw wrong(field, 'a byte string');
  fits(value.length, rule, field, 'bytes');
  return value;
}

/** Lengths are in UTF-16 units. @throws CvmpError MALFORMED, SIZE */
export function asText(value: CborValue | undefined, field: string, rule: LengthRule = {}): string {
  if (typeof value !== 'string') throw wrong(field, 'a text');
  fits(value.length, rule, field, 'characters');
  return value;
}

/** @throws CvmpError MALFORMED */
export function asBoolean(value: CborValue | undefined, field: string): boolean {
  if (typeof value !== 'boolean') throw wrong(field, 'a boolean');
  return value;
}

/** @throws CvmpError MALFORMED, SIZE */
export function asArray(
  value: CborValue | undefined,
  field: string,
  rule: LengthRule = {},
): readonly CborValue[] {
  if (!Array.isArray(value)) throw wrong(field, 'an array');
  fits(value.length, rule, field, 'elements');
  return value;
}

/** @throws CvmpError MALFORMED */
export function asMap(value: CborValue | undefined, field: string): CborMap {
  if (!(value instanceof Map)) throw wrong(field, 'a map');
  return value;
}

/**
 * Reads a closed map: `read` asks for the keys that it knows, and every other key is refused.
 * @param field names the map; errors name `field.name`
 * @throws CvmpError MALFORMED, SIZE
 */
export function readMap<T>(
  value: CborValue | undefined,
  field: string,
  read: (map: MapReader) => T,
): T {
  const reader = new MapReader(asMap(value, field), field);
  const result = read(reader);
  reader.end();
  return result;
}

/** {@link decode}, then {@link readMap}. */
export function decodeMap<T>(bytes: Uint8Array, field: string, read: (map: MapReader) => T): T {
  return readMap(decode(bytes, { field }), field, read);
}

/** The entries of one closed map. Every accessor demands its key. */
export class MapReader {
  readonly #map: CborMap;
  readonly #field: string;
  readonly #known = new Set<CborKey>();

  constructor(map: CborMap, field: string) {
    this.#map = map;
    this.#field = field;
  }

  /** Whether an optional key is there. */
  has(key: CborKey): boolean {
    this.#known.add(key);
    return this.#map.has(key);
  }

  /** `read` where the key is there: `m.optional(6, () => m.integer(6, 'min_proto'))`. */
  optional<T>(key: CborKey, read: () => T): T | undefined {
    return this.has(key) ? read() : undefined;
  }

  /** Any value. */
  value(key: CborKey, name: string): CborValue {
    this.#known.add(key);
    const value = this.#map.get(key);
    if (value === undefined) {
      const field = this.path(name);
      throw new CvmpError('MALFORMED', `${field} is missing`, { field });
    }
    return value;
  }

  integer(key: CborKey, name: string, rule?: IntegerRule): number {
    return asInteger(this.value(key, name), this.path(name), rule);
  }

  uint64(key: CborKey, name: string): bigint {
    return asUint64(this.value(key, name), this.path(name));
  }

  bytes(key: CborKey, name: string, rule?: LengthRule): Uint8Array {
    return asBytes(this.value(key, name), this.path(name), rule);
  }

  text(key: CborKey, name: string, rule?: LengthRule): string {
    return asText(this.value(key, name), this.path(name), rule);
  }

  boolean(key: CborKey, name: string): boolean {
    return asBoolean(this.value(key, name), this.path(name));
  }

  /** Each element by `read`, which gets the element and its path. */
  array<T>(
    key: CborKey,
    name: string,
    rule: LengthRule,
    read: (item: CborValue, field: string) => T,
  ): T[] {
    const field = this.path(name);
    const items = asArray(this.value(key, name), field, rule);
    return items.map((item, i) => read(item, `${field}[${i}]`));
  }

  /** A closed map inside this one. */
  map<T>(key: CborKey, name: string, read: (map: MapReader) => T): T {
    return readMap(this.value(key, name), this.path(name), read);
  }

  /** The entries that were not asked for, of a map that its format lets be extended. */
  extensions(): ReadonlyMap<CborKey, CborValue> {
    const more = new Map([...this.#map].filter(([key]) => !this.#known.has(key)));
    for (const key of more.keys()) this.#known.add(key);
    return more;
  }

  /** The path of a field of this map. */
  path(name: string): string {
    return `${this.#field}.${name}`;
  }

  /** @throws CvmpError MALFORMED where a key was never asked for. */
  end(): void {
    for (const key of this.#map.keys()) {
      if (!this.#known.has(key)) {
        const field = this.#field;
        throw new CvmpError('MALFORMED', `${field} has an unknown key ${String(key)}`, { field });
      }
    }
  }
}
