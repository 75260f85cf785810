import { CvmpError } from '#core/errors.js';
import { Database, type Write } from '#server/host/level.js';
import type { Change, Entry, Put, Range, Store, Stored } from './store.js';

/** A value on disk begins with its version, big-endian. */
const versionLength = 6;
const versionsMax = 100_000;
const kind = 'cvmp-key-server 1';
/** 16 random bytes that tell this store from every other one. */
const idKey = 'store';

/**
 * Makes a store.
 * @param id 16 random bytes
 * @param first what it begins with
 * @throws CvmpError ALREADY_EXISTS, STORE_LOCKED, STORE_WRITE
 */
export async function initLevelStore(
  folder: string,
  id: Uint8Array,
  first: readonly Put[],
): Promise<void> {
  const identity = { key: idKey, value: id, expected: 0, version: 1 };
  await Database.create(folder, kind, [identity, ...first].map(written));
}

/**
 * Opens a store that {@link initLevelStore} made; never makes one.
 * @throws CvmpError STORE_MISSING, STORE_LOCKED, STORE_CORRUPT
 */
export async function openLevelStore(folder: string): Promise<Store> {
  const database = await Database.open(folder, kind);
  const id = database.getSync(idKey);
  if (id?.length !== versionLength + 16) {
    await database.close();
    throw new CvmpError('STORE_CORRUPT', `the store at ${folder} has lost its id`);
  }
  return new LevelStore(database, id.slice(versionLength));
}

/** The embedded store: one process, one LevelDB. */
class LevelStore implements Store {
  readonly id: Uint8Array;
  readonly #db: Database;
  /** Versions of keys lately read or written; nobody else writes. */
  readonly #versions = new Map<string, number>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(db: Database, id: Uint8Array) {
    this.#db = db;
    this.id = id;
  }

  async get(key: string): Promise<Stored | undefined> {
    return this.#read(key);
  }

  async list(range: Range): Promise<readonly Entry[]> {
    const found = await this.#db.list(range);
    return found.map(([key, bytes]) => ({ key, ...stored(key, bytes) }));
  }

  commit(change: Change): Promise<void> {
    // One after the other, so that the versions that one leaves are those that the next finds.
    const done = this.#last.then(() => this.#commit(change));
    this.#last = done.catch(() => undefined);
    return done;
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#db.close();
  }

  async #commit({ puts = [], deletes = [], unchanged = [] }: Change): Promise<void> {
    for (const list of [puts, deletes, unchanged]) {
      for (const { key, expected } of list) {
        const version = this.#versions.get(key) ?? this.#read(key)?.version ?? 0;
        if (version === expected) continue;
        throw new CvmpError('CAS_MISMATCH', `${key} has version ${version}, not ${expected}`);
      }
    }
    if (puts.length + deletes.length === 0) return;
    await this.#db.write([...puts.map(written), ...deletes.map(({ key }) => ({ key }))]);
    for (const { key, version } of puts) this.#remember(key, version);
    for (const { key } of deletes) this.#versions.delete(key);
  }

  #read(key: string): Stored | undefined {
    const bytes = this.#db.getSync(key);
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

function written({ key, value, version }: Put): Write {
  const bytes = Buffer.allocUnsafe(versionLength + value.length);
  bytes.writeUIntBE(version, 0, versionLength);
  bytes.set(value, versionLength);
  return { key, value: bytes };
}

function stored(key: string, bytes: Uint8Array): Stored {
  if (bytes.length < versionLength) {
    throw new CvmpError('STORE_CORRUPT', `the record ${key} is cut off`);
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return { value: bytes.subarray(versionLength), version: view.readUIntBE(0, versionLength) };
}
