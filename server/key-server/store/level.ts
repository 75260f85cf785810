import { CvmpError } from '#core/errors.js';
import { Database, type Write } from '#server/host/level.js';
import { HeadFile } from './head.js';
import { Scrub } from './scrub.js';
import {
  type Change,
  type Entry,
  notAnchored,
  type Put,
  type Range,
  type Snapshot,
  type Store,
  type Stored,
} from './store.js';

/** A value on disk begins with its version, big-endian. */
const versionLength = 6;
const versionsMax = 100_000;
const kind = 'cvmp-key-server 1';
/** 16 random bytes that tell this store from every other one. */
const idKey = 'store';
/** Its version is the number of commits so far. */
const commitsKey = 'commits';
const nothing = new Uint8Array();

/** Where the head file of a store is, unless told: beside its folder. */
export const headFileOf = (folder: string) => `${folder}.head`;

/**
 * Makes a store.
 * @param id 16 random bytes
 * @param first what it begins with
 * @throws CvmpError ALREADY_EXISTS, STORE_LOCKED, STORE_WRITE, STORE_ACCESS
 */
export async function initLevelStore(
  folder: string,
  id: Uint8Array,
  first: readonly Put[],
  headFile = headFileOf(folder),
): Promise<void> {
  const identity = { key: idKey, value: id, expected: 0, version: 1 };
  await Database.create(folder, kind, [identity, commitsPut(1), ...first].map(written));
  HeadFile.create(headFile, id, 1).close();
}

/**
 * Opens a store that {@link initLevelStore} made; never makes one.
 * @param options.isHeadIgnored to look at a store that lost something
 * @throws CvmpError STORE_MISSING, STORE_LOCKED, STORE_CORRUPT, STORE_ACCESS, STORE_BEHIND
 */
export async function openLevelStore(
  folder: string,
  options: { readonly headFile?: string | undefined; readonly isHeadIgnored?: boolean } = {},
): Promise<LevelStore> {
  const { headFile = headFileOf(folder), isHeadIgnored = false } = options;
  const database = await Database.open(folder, kind);
  try {
    const id = database.getSync(idKey);
    const commits = database.getSync(commitsKey);
    if (id?.length !== versionLength + 16 || commits === undefined) {
      throw new CvmpError('STORE_CORRUPT', `the store at ${folder} has lost its first records`);
    }
    const parts = { id: id.slice(versionLength), commits: stored(commitsKey, commits).version };
    let head = HeadFile.open(headFile, parts.id);
    const behind = Math.max(0, (head?.commits ?? 0) - parts.commits);
    if (isHeadIgnored) {
      head?.close();
      head = undefined;
    } else if (head !== undefined && behind > 0) {
      head.close();
      const what = `ends at commit ${parts.commits}; commit ${head.commits} was acknowledged`;
      throw new CvmpError('STORE_BEHIND', `the store at ${folder} ${what}`);
    }
    return new LevelStore(database, { ...parts, headFile, head, behind });
  } catch (error) {
    await database.close();
    throw error;
  }
}

interface Opened {
  readonly id: Uint8Array;
  readonly commits: number;
  readonly headFile: string;
  readonly head: HeadFile | undefined;
  readonly behind: number;
}

/**
 * Makes a store from all entries of another one. It has no head file: it only reads, until anchored.
 * @param batches entries of the store, its first records among them
 * @throws CvmpError ALREADY_EXISTS, STORE_LOCKED, STORE_WRITE, STORE_ACCESS
 */
export async function restoreLevelStore(
  folder: string,
  batches: AsyncIterable<readonly Entry[]>,
): Promise<void> {
  await Database.create(folder, kind);
  const database = await Database.open(folder, kind);
  try {
    for await (const batch of batches) {
      const puts = batch.map((entry) => ({ ...entry, expected: 0 }));
      await database.write(puts.map(written));
    }
  } finally {
    await database.close();
  }
}

/** Whether a record is one that every LevelDB of ours has, and no store. */
export const isOfDatabase = (key: string) => key.startsWith('!');

/** The embedded store: one process, one LevelDB, and its head file. */
export class LevelStore implements Store {
  readonly id: Uint8Array;
  /** Commits that the head file knows of and the store has not. */
  readonly behind: number;
  readonly #db: Database;
  readonly #headFile: string;
  #head: HeadFile | undefined;
  #commits: number;
  /** Versions of keys lately read or written; nobody else writes. */
  readonly #versions = new Map<string, number>();
  #last: Promise<unknown> = Promise.resolve();
  readonly #scrub: Scrub;
  #refusal: CvmpError | undefined;

  constructor(db: Database, { id, commits, headFile, head, behind }: Opened) {
    this.#db = db;
    this.id = id;
    this.behind = behind;
    this.#commits = commits;
    this.#headFile = headFile;
    this.#head = head;
    this.#scrub = new Scrub(db, (failure) => {
      this.#refusal ??= failure;
    });
    this.#scrub.start();
  }

  get anchored(): boolean {
    return this.#head !== undefined;
  }

  /** Declares that nothing newer is known than what is here. @throws CvmpError STORE_WRITE */
  anchor(): void {
    this.#head?.close();
    this.#head = HeadFile.create(this.#headFile, this.id, this.#commits);
  }

  async get(key: string): Promise<Stored | undefined> {
    return this.#read(key);
  }

  async list(range: Range): Promise<readonly Entry[]> {
    return entries(await this.#db.list(range));
  }

  snapshot(): Snapshot {
    const snapshot = this.#db.snapshot();
    return {
      list: async (range) => entries(await snapshot.list(range)),
      close: () => snapshot.close(),
    };
  }

  /** See {@link Database.verify}. */
  verify(): Generator<number, void> {
    return this.#db.verify();
  }

  commit(change: Change): Promise<void> {
    // One after the other, so that the versions that one leaves are those that the next finds.
    const done = this.#last.then(() => this.#commit(change));
    this.#last = done.catch(() => undefined);
    return done;
  }

  async close(): Promise<void> {
    await this.#last;
    this.#refusal ??= new CvmpError('SHUTTING_DOWN', 'the store is closed');
    this.#scrub.stop();
    await this.#db.close();
    this.#head?.close();
    this.#head = undefined;
  }

  async #commit({ puts = [], deletes = [], unchanged = [] }: Change): Promise<void> {
    if (this.#refusal !== undefined) throw this.#refusal;
    const head = this.#head;
    if (head === undefined) throw notAnchored();
    for (const list of [puts, deletes, unchanged]) {
      for (const { key, expected } of list) {
        const version = this.#versions.get(key) ?? this.#read(key)?.version ?? 0;
        if (version === expected) continue;
        throw new CvmpError('CAS_MISMATCH', `${key} has version ${version}, not ${expected}`);
      }
    }
    if (puts.length + deletes.length === 0) return;
    const commits = this.#commits + 1;
    const all = [...puts.map(written), ...deletes.map(({ key }) => ({ key }))];
    try {
      await this.#db.write([...all, written(commitsPut(commits))]);
      head.advance(commits);
    } catch (error) {
      this.#refusal ??= error as CvmpError;
      throw error;
    }
    this.#commits = commits;
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

function entries(found: readonly (readonly [string, Uint8Array])[]): readonly Entry[] {
  return found.map(([key, bytes]) => ({ key, ...stored(key, bytes) }));
}

function commitsPut(commits: number): Put {
  return { key: commitsKey, value: nothing, expected: commits - 1, version: commits };
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
