import { existsSync, mkdirSync, readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { Level } from 'level';
import { encode } from '#core/cbor/encode.js';
import { decodeMap } from '#core/cbor/read.js';
import { CvmpError } from '#core/errors.js';
import type { Change, Entry, Range, Store, Stored } from './store.js';

type Database = Level<string, Uint8Array>;

/** Key of the record that makes a LevelDB a store of ours. */
const markerKey = 'store';
const format = 1;
/** A value on disk begins with its version, big-endian. */
const versionLength = 6;
const cacheBytes = 64 * 1024 * 1024;
const versionsMax = 100_000;

/**
 * Stores that this process has open. LevelDB's lock must never be tried twice by one process: the
 * second attempt fails and releases it, and then another process gets in (measured).
 */
const openHere = new Set<string>();

/**
 * Makes an empty store; `change` is part of its first batch.
 * @param id 16 random bytes
 * @throws CvmpError ALREADY_EXISTS, STORE_WRITE
 */
export async function initLevelStore(
  folder: string,
  id: Uint8Array,
  change: Change,
): Promise<void> {
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new CvmpError('ALREADY_EXISTS', `there is something at ${folder} already`);
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const release = guard(folder);
  try {
    const db = await openDatabase(folder, { createIfMissing: true, errorIfExists: true });
    const marker = encode(
      new Map<number, number | Uint8Array>([
        [1, format],
        [2, id],
      ]),
    );
    const puts = [{ key: markerKey, value: marker, expected: 0, version: 1 }];
    await write(db, { ...change, puts: [...puts, ...(change.puts ?? [])] });
    await db.close();
  } finally {
    release();
  }
}

/**
 * Opens a store that {@link initLevelStore} made; never makes one. At most once in a process at a
 * time, and never in a worker thread, which would not see this guard.
 * @throws CvmpError STORE_MISSING, STORE_LOCKED, STORE_CORRUPT, UNSUPPORTED_VERSION
 */
export async function openLevelStore(folder: string): Promise<Store> {
  checkPlace(folder);
  const release = guard(folder);
  try {
    const db = await openDatabase(folder, { createIfMissing: false });
    try {
      return new LevelStore(db, readMarker(db, folder), release);
    } catch (error) {
      await db.close();
      throw error;
    }
  } catch (error) {
    release();
    throw error;
  }
}

/** LevelDB would leave a lock file behind where there is nothing, and see nothing without CURRENT. */
function checkPlace(folder: string): void {
  if (existsSync(join(folder, 'CURRENT'))) return;
  const files = existsSync(folder) ? readdirSync(folder) : [];
  if (files.some((name) => /\.(ldb|log)$|^MANIFEST-/.test(name))) {
    throw new CvmpError('STORE_CORRUPT', `the store at ${folder} has lost its file CURRENT`);
  }
  throw new CvmpError('STORE_MISSING', `there is no store at ${folder}`);
}

function guard(folder: string): () => void {
  const place = realpathSync(folder);
  if (openHere.has(place)) {
    throw new CvmpError('STORE_LOCKED', `this process has the store at ${folder} open already`);
  }
  openHere.add(place);
  return () => openHere.delete(place);
}

interface OpenOptions {
  readonly createIfMissing: boolean;
  readonly errorIfExists?: boolean;
}

async function openDatabase(folder: string, options: OpenOptions): Promise<Database> {
  const db: Database = new Level(folder, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
    cacheSize: cacheBytes,
    // Sealed values do not compress.
    compression: false,
    ...options,
  });
  try {
    await db.open();
  } catch (error) {
    const cause = (error as Error).cause as { code?: string; message?: string } | undefined;
    if (cause?.code === 'LEVEL_LOCKED') {
      throw new CvmpError('STORE_LOCKED', `another process has the store at ${folder} open`);
    }
    const what = `the store at ${folder} does not open: ${cause?.message ?? error}`;
    throw new CvmpError('STORE_CORRUPT', what, { cause: error });
  }
  return db;
}

/** @returns the id of the store */
function readMarker(db: Database, folder: string): Uint8Array {
  const marker = db.getSync(markerKey);
  if (marker === undefined) {
    throw new CvmpError('STORE_CORRUPT', `the LevelDB at ${folder} has no marker record of ours`);
  }
  const { version, id } = corruptUnless('the marker record', () =>
    decodeMap(marker.subarray(versionLength), 'store', (m) => ({
      version: m.integer(1, 'format'),
      id: m.bytes(2, 'id', { length: 16 }),
    })),
  );
  if (version !== format) {
    const what = `the store has format ${version}; this program knows ${format}`;
    throw new CvmpError('UNSUPPORTED_VERSION', what);
  }
  return id;
}

function corruptUnless<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new CvmpError('STORE_CORRUPT', `${what} is damaged`, { cause });
  }
}

async function write(db: Database, change: Change): Promise<void> {
  // One native call per operation; the array form costs three times as much (measured).
  const batch = db.batch();
  for (const { key, value, version } of change.puts ?? []) {
    const bytes = Buffer.allocUnsafe(versionLength + value.length);
    bytes.writeUIntBE(version, 0, versionLength);
    bytes.set(value, versionLength);
    batch.put(key, bytes);
  }
  for (const { key } of change.deletes ?? []) batch.del(key);
  try {
    await batch.write({ sync: true });
  } catch (cause) {
    throw new CvmpError('STORE_WRITE', 'LevelDB did not write', { cause });
  }
}

class LevelStore implements Store {
  readonly id: Uint8Array;
  readonly #db: Database;
  readonly #release: () => void;
  /** Versions of keys lately read or written; 0: not there. Nobody else writes. */
  readonly #versions = new Map<string, number>();
  #last: Promise<void> = Promise.resolve();
  #closing = false;
  #failure: CvmpError | undefined;

  constructor(db: Database, id: Uint8Array, release: () => void) {
    this.#db = db;
    this.id = id;
    this.#release = release;
  }

  async get(key: string): Promise<Stored | undefined> {
    return this.#read(key);
  }

  async list({ prefix, after, reverse = false, limit }: Range): Promise<readonly Entry[]> {
    // Keys are ASCII: 0x7f is beyond every continuation of the prefix.
    const bounds = reverse
      ? { gte: prefix, lt: after ?? `${prefix}\x7f` }
      : { gt: after ?? prefix, lt: `${prefix}\x7f` };
    const found = await this.#db
      .iterator({ ...bounds, reverse, limit })
      .all()
      .catch((cause) => {
        throw new CvmpError('STORE_CORRUPT', 'LevelDB cannot read', { cause });
      });
    return found.map(([key, bytes]) => ({ key, ...stored(key, bytes) }));
  }

  async commit(change: Change): Promise<void> {
    if (this.#closing) throw new CvmpError('SHUTTING_DOWN', 'the store is closing');
    const done = this.#last.then(() => this.#commit(change));
    this.#last = done.catch(() => undefined);
    return done;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#last;
    await this.#db.close();
    this.#release();
  }

  async #commit(change: Change): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    for (const list of [change.puts, change.deletes, change.unchanged]) {
      for (const { key, expected } of list ?? []) {
        const version = this.#version(key);
        if (version !== expected) {
          const what = `${key} has version ${version}, not ${expected}`;
          throw new CvmpError('CAS_MISMATCH', what);
        }
      }
    }
    try {
      await write(this.#db, change);
    } catch (error) {
      // What is on disk is unknown now; only opening it again can tell.
      this.#failure = error as CvmpError;
      throw error;
    }
    for (const { key, version } of change.puts ?? []) this.#remember(key, version);
    for (const { key } of change.deletes ?? []) this.#versions.delete(key);
  }

  #version(key: string): number {
    return this.#versions.get(key) ?? this.#read(key)?.version ?? 0;
  }

  #read(key: string): Stored | undefined {
    let bytes: Uint8Array | undefined;
    try {
      bytes = this.#db.getSync(key);
    } catch (cause) {
      throw new CvmpError('STORE_CORRUPT', `LevelDB cannot read ${key}`, { cause });
    }
    if (bytes === undefined) return undefined;
    const entry = stored(key, bytes);
    this.#remember(key, entry.version);
    return entry;
  }

  #remember(key: string, version: number): void {
    if (this.#versions.size >= versionsMax) this.#versions.clear();
    this.#versions.set(key, version);
  }
}

function stored(key: string, bytes: Uint8Array): Stored {
  if (bytes.length < versionLength) {
    throw new CvmpError('STORE_CORRUPT', `the record ${key} is cut off`);
  }
  const version = Buffer.from(bytes.buffer, bytes.byteOffset, versionLength).readUIntBE(
    0,
    versionLength,
  );
  return { value: bytes.subarray(versionLength), version };
}
