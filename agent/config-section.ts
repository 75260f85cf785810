import { resolve } from 'node:path';
import { parse } from 'yaml';
import { CvmpError } from '#core/errors.js';

/** One mapping of a config file; remembers what was asked for, so that the rest can be refused. */
export class Section {
  readonly #entries: ReadonlyMap<string, unknown>;
  readonly #name: string;
  readonly #folder: string;
  readonly #known = new Set<string>();

  private constructor(entries: unknown, name: string, folder: string) {
    this.#name = name;
    this.#folder = folder;
    if (typeof entries !== 'object' || entries === null || Array.isArray(entries)) {
      throw new CvmpError('CONFIG', `${name || 'the file'} is not a mapping`, { field: name });
    }
    this.#entries = new Map(Object.entries(entries));
  }

  static parse(text: string, folder: string): Section {
    try {
      // Scalars stay text: 0123 or `no` mean what they say.
      return new Section(parse(text, { schema: 'failsafe', maxAliasCount: 0 }), '', folder);
    } catch (cause) {
      if (cause instanceof CvmpError) throw cause;
      throw new CvmpError('CONFIG', `not YAML: ${(cause as Error).message}`, { cause });
    }
  }

  refuse(key: string, why: string): never {
    const field = [this.#name, key].filter((part) => part !== '').join('.');
    throw new CvmpError('CONFIG', `${field} ${why}`, { field });
  }

  has(key: string): boolean {
    this.#known.add(key);
    return this.#entries.has(key);
  }

  section(key: string): Section | undefined {
    if (!this.has(key)) return undefined;
    return new Section(
      this.#entries.get(key),
      `${this.#name}${this.#name && '.'}${key}`,
      this.#folder,
    );
  }

  string(key: string, fallback?: string): string {
    if (!this.has(key)) return fallback ?? this.refuse(key, 'is missing');
    const value = this.#entries.get(key);
    return typeof value === 'string' && value !== '' ? value : this.refuse(key, 'is not a text');
  }

  path(key: string, fallback?: string): string {
    return resolve(this.#folder, this.string(key, fallback));
  }

  optionalPath(key: string): string | undefined {
    return this.has(key) ? this.path(key) : undefined;
  }

  integer(key: string, min: number, max: number, fallback?: number): number {
    const value = readInteger(this.string(key, fallback?.toString()), min, max);
    return Number.isNaN(value)
      ? this.refuse(key, `is not an integer from ${min} to ${max}`)
      : value;
  }

  /** A list of distinct integers, ascending. */
  integers(key: string, min: number, max: number, fallback: readonly number[]): readonly number[] {
    if (!this.has(key)) return [...fallback];
    const value = this.#entries.get(key);
    const numbers = Array.isArray(value) ? value.map((item) => readInteger(item, min, max)) : [];
    if (numbers.length === 0 || new Set(numbers).size < numbers.length) {
      return this.refuse(key, 'is not a list of distinct integers');
    }
    if (numbers.includes(Number.NaN)) {
      return this.refuse(key, `holds what is not an integer from ${min} to ${max}`);
    }
    return numbers.sort((a, b) => a - b);
  }

  choice<T extends string>(key: string, allowed: readonly T[], fallback: T): T {
    const text = this.string(key, fallback);
    return (
      allowed.find((a) => a === text) ?? this.refuse(key, `is not one of ${allowed.join(', ')}`)
    );
  }

  /** Refuses what nobody asked for: a misspelt entry would be silently ignored otherwise. */
  end(): void {
    for (const key of this.#entries.keys()) {
      if (!this.#known.has(key)) this.refuse(key, 'is not a known entry');
    }
  }
}

/** @returns NaN where it is none in these bounds */
function readInteger(text: unknown, min: number, max: number): number {
  const value = /^(0|[1-9][0-9]{0,14})$/.test(String(text)) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : Number.NaN;
}
