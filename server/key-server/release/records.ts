import type { LatePut, RecordSealer } from '../store/seal.js';
import type { Expectation, Stored } from '../store/store.js';

/** A record as it was last read or submitted. */
export interface Held<T> {
  readonly key: string;
  readonly value: T;
  /** 0: the record is not there. */
  readonly version: number;
}

interface Codec<T> {
  readonly encode: (value: T) => Uint8Array;
  /** @throws CvmpError MALFORMED */
  readonly decode: (bytes: Uint8Array) => T;
}

interface Source {
  get(key: string): Promise<Stored | undefined>;
}

/**
 * Sealed records of one kind, with the lately used ones unsealed in memory. What is kept is never
 * secret: root keys are wrapped once more inside their records.
 */
export class SealedRecords<T> {
  readonly #source: Source;
  readonly #codec: Codec<T>;
  readonly #max: number;
  readonly #cache = new Map<string, Held<T>>();

  /** @param max records kept in memory */
  constructor(source: Source, codec: Codec<T>, max: number) {
    this.#source = source;
    this.#codec = codec;
    this.#max = max;
  }

  /** Without waiting, where it is in memory. */
  peek(key: string): Held<T> | undefined {
    return this.#cache.get(key);
  }

  /**
   * Reads through the cache; undefined where there is none, which is not remembered.
   * @throws CvmpError STORE_CORRUPT
   */
  async read(key: string, sealer: RecordSealer): Promise<Held<T> | undefined> {
    const held = this.#cache.get(key);
    if (held !== undefined) return held;
    const stored = await this.#source.get(key);
    if (stored === undefined) return undefined;
    const version = stored.version;
    const value = this.#codec.decode(sealer.open(key, stored));
    // What another call has submitted meanwhile is newer.
    return this.#cache.get(key) ?? this.#remember({ key, value, version });
  }

  /** Only unseals, for lists. @throws CvmpError STORE_CORRUPT */
  open(key: string, stored: Stored, sealer: RecordSealer): T {
    return this.#codec.decode(sealer.open(key, stored));
  }

  /** The next version of a record. */
  put(key: string, expected: number, value: T, sealer: RecordSealer): LatePut {
    return sealer.put(key, expected, this.#codec.encode(value));
  }

  /** Says that a put was submitted, so that the next decision builds on it. */
  submitted(put: LatePut, value: T): void {
    this.#remember({ key: put.key, value, version: put.version });
  }

  /** After a stale read. */
  forget(key: string): void {
    this.#cache.delete(key);
  }

  clear(): void {
    this.#cache.clear();
  }

  #remember(held: Held<T>): Held<T> {
    this.#cache.delete(held.key);
    this.#cache.set(held.key, held);
    if (this.#cache.size > this.#max) {
      const oldest = this.#cache.keys().next();
      if (!oldest.done) this.#cache.delete(oldest.value);
    }
    return held;
  }
}

/** The decision builds on this version. */
export function unchanged({ key, version }: Held<unknown>): Expectation {
  return { key, expected: version };
}
