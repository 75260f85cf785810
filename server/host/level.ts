import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Level } from 'level';
import { fromUtf8, utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { asCvmpError, inspectFiles, verifyTables } from './level-files/inspect.js';

/** One put (`value`) or delete (no `value`). Keys are ASCII without control characters. */
export interface Write {
  readonly key: string;
  readonly value?: Uint8Array;
}

export interface Range {
  readonly prefix: string;
  /** Exclusive: only keys after it, or before it where `reverse`. */
  readonly after?: string;
  readonly reverse?: boolean;
  readonly limit?: number;
}

/** A database as it was at one moment. */
export interface DatabaseSnapshot {
  readonly list: Database['list'];
  readonly close: () => Promise<void>;
}

type Db = Level<string, Uint8Array>;

/** Sealed values do not compress; a larger buffer is sorted and merged a quarter as often. */
const tuning = { compression: false, writeBufferSize: 16 * 1024 * 1024 } as const;

/** Says what the database is, so that an emptied or foreign folder is not taken for it. */
const markerKey = '!cvmp';

/**
 * Folders that this process has open. A second attempt in one process would fail, but on its way
 * drop the lock that keeps other processes out.
 */
const opened = new Set<string>();

/** A LevelDB with one queue of writes: what waits is written and synced as one batch. */
export class Database {
  readonly #db: Db;
  readonly #folder: string;
  #queue: { writes: readonly Write[]; done: () => void; fail: (error: Error) => void }[] = [];
  #writing: Promise<void> | undefined;
  #broken: CvmpError | undefined;

  private constructor(db: Db, folder: string) {
    this.#db = db;
    this.#folder = folder;
  }

  /**
   * Makes a database.
   * @param kind what it is for, as {@link open} must name it
   * @param first what it begins with, in the same batch as its marker
   * @throws CvmpError ALREADY_EXISTS, STORE_LOCKED, STORE_CORRUPT, STORE_ACCESS, STORE_WRITE
   */
  static async create(path: string, kind: string, first: readonly Write[] = []): Promise<void> {
    // Values are sealed, names of keys are not.
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw asCvmpError(cause, path);
    }
    const database = await Database.#open(path, true);
    try {
      const keys = await database.#db.keys({ limit: 1 }).all();
      if (keys.length > 0) {
        throw new CvmpError('ALREADY_EXISTS', `there is a database at ${path}`);
      }
      await database.write([{ key: markerKey, value: utf8(kind) }, ...first]);
    } finally {
      await database.close();
    }
  }

  /** @throws CvmpError STORE_MISSING, STORE_LOCKED, STORE_CORRUPT, STORE_ACCESS, STORE_WRITE */
  static async open(path: string, kind: string): Promise<Database> {
    const database = await Database.#open(path, false);
    const marker = await database.get(markerKey);
    if (marker === undefined || fromUtf8(marker) !== kind) {
      await database.close();
      throw new CvmpError('STORE_CORRUPT', `the database at ${path} is not one of ${kind}`);
    }
    return database;
  }

  static async #open(path: string, createIfMissing: boolean): Promise<Database> {
    const folder = resolve(path);
    if (opened.has(folder)) throw new CvmpError('STORE_LOCKED', `${path} is open in this process`);
    if (!createIfMissing) inspectFiles(folder);
    opened.add(folder);
    const db: Db = new Level(folder, { ...tuning, valueEncoding: 'view', createIfMissing });
    try {
      await db.open();
    } catch (cause) {
      opened.delete(folder);
      const inner = ((cause as Error).cause ?? cause) as Error & { code?: string };
      if (inner.code !== 'LEVEL_LOCKED') throw asCvmpError(inner, path);
      throw new CvmpError('STORE_LOCKED', `${path} is open in another process`, { cause });
    }
    return new Database(db, folder);
  }

  /** What the last durable write left. @throws CvmpError STORE_CORRUPT, SHUTTING_DOWN */
  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#read(() => this.#db.get(key));
  }

  /** {@link get} for small values on a busy path: blocks, but costs a third (measured). */
  getSync(key: string): Uint8Array | undefined {
    try {
      return this.#db.getSync(key);
    } catch (cause) {
      throw this.#readError(cause);
    }
  }

  /**
   * Entries in bytewise order of their keys, as of one moment.
   * @throws CvmpError STORE_CORRUPT, SHUTTING_DOWN
   */
  list(range: Range): Promise<readonly (readonly [key: string, value: Uint8Array])[]> {
    return this.#list(range, {});
  }

  /** What is there now, to be listed later, whatever is written meanwhile. */
  snapshot(): DatabaseSnapshot {
    const snapshot = this.#db.snapshot();
    return {
      list: (range) => this.#list(range, { snapshot }),
      close: () => snapshot.close(),
    };
  }

  async #list(
    range: Range,
    from: { readonly snapshot?: ReturnType<Db['snapshot']> },
  ): Promise<readonly (readonly [key: string, value: Uint8Array])[]> {
    const { prefix, after, reverse = false, limit = -1 } = range;
    // Keys are ASCII, so this is greater than all that begin with the prefix.
    const end = `${prefix}\u007f`;
    const bounds = reverse
      ? { gte: prefix, lt: after ?? end }
      : { ...(after === undefined ? { gte: prefix } : { gt: after }), lt: end };
    return this.#read(() => this.#db.iterator({ ...bounds, ...from, reverse, limit }).all());
  }

  /**
   * All or nothing; answers when it is durable. Writes become durable in the order of the calls.
   * @throws CvmpError STORE_WRITE; from then on every write is refused, since nobody knows what
   *   the disk holds before the database is opened again
   */
  async write(writes: readonly Write[]): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    const durable = new Promise<void>((done, fail) => this.#queue.push({ writes, done, fail }));
    this.#writing ??= this.#drain();
    return durable;
  }

  /**
   * Verifies what LevelDB reads unverified.
   * @returns now and then how many bytes it has verified since, so that others can come in between
   * @throws CvmpError STORE_CORRUPT, STORE_ACCESS
   */
  verify(): Generator<number, void> {
    return verifyTables(this.#folder);
  }

  /** Why nothing can be written any more; undefined where it can. */
  get failure(): CvmpError | undefined {
    return this.#broken;
  }

  /** Waits for the writes that were asked for. */
  async close(): Promise<void> {
    this.#broken ??= new CvmpError('SHUTTING_DOWN', 'the database is closed');
    await this.#writing;
    await this.#db.close();
    opened.delete(this.#folder);
  }

  async #drain(): Promise<void> {
    // Gathers what this turn writes; what comes later waits for the batch under way anyway.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#queue;
      this.#queue = [];
      try {
        // One native call each: the array form of a batch costs three times as much (measured).
        const batch = this.#db.batch();
        for (const { writes } of group) {
          for (const { key, value } of writes) {
            if (value === undefined) batch.del(key);
            else batch.put(key, value);
          }
        }
        await batch.write({ sync: true });
        for (const { done } of group) done();
      } catch (cause) {
        this.#broken = new CvmpError('STORE_WRITE', 'the database could not write', { cause });
        for (const { fail } of [...group, ...this.#queue.splice(0)]) fail(this.#broken);
      }
    }
    this.#writing = undefined;
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (cause) {
      throw this.#readError(cause);
    }
  }

  #readError(cause: unknown): CvmpError {
    return this.#db.status === 'open'
      ? new CvmpError('STORE_CORRUPT', 'the database could not be read', { cause })
      : new CvmpError('SHUTTING_DOWN', 'the database is closed');
  }
}
