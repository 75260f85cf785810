import { CvmpError } from '#core/errors.js';
import type {
  Change,
  Entry,
  Range,
  Snapshot,
  Store,
  Stored,
} from '#server/key-server/store/store.js';

/** A store that forgets when the test ends. Its commits can be held back, or made to fail. */
export class MemoryStore implements Store {
  readonly id = new Uint8Array(16).fill(9);
  readonly anchored = true;
  readonly records = new Map<string, Stored>();
  /** Every commit so far, in order. */
  readonly commits: Change[] = [];
  /** Runs before each commit; what it throws is what the commit throws. */
  before: (change: Change) => Promise<void> | void = () => undefined;
  #last: Promise<unknown> = Promise.resolve();
  #failure: CvmpError | undefined;
  #closed = false;

  async get(key: string): Promise<Stored | undefined> {
    return this.records.get(key);
  }

  async list({ prefix, after, reverse = false, limit }: Range): Promise<readonly Entry[]> {
    const keys = [...this.records.keys()].filter((key) => key.startsWith(prefix)).sort();
    if (reverse) keys.reverse();
    const from = (key: string) => after === undefined || (reverse ? key < after : key > after);
    return keys
      .filter(from)
      .slice(0, limit)
      .map((key) => ({ key, ...this.records.get(key)! }));
  }

  snapshot(): Snapshot {
    const then = new MemoryStore();
    for (const [key, stored] of this.records) then.records.set(key, stored);
    return then;
  }

  commit(change: Change): Promise<void> {
    const done = this.#last.then(() => this.#commit(change));
    this.#last = done.catch(() => undefined);
    return done;
  }

  async close(): Promise<void> {
    await this.#last;
    this.#closed = true;
  }

  async #commit(change: Change): Promise<void> {
    if (this.#closed) throw new CvmpError('SHUTTING_DOWN', 'closed');
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.before(change);
    } catch (error) {
      if (error instanceof CvmpError && error.code === 'STORE_WRITE') this.#failure = error;
      throw error;
    }
    const { puts = [], deletes = [], unchanged = [] } = change;
    for (const { key, expected } of [...puts, ...deletes, ...unchanged]) {
      const version = this.records.get(key)?.version ?? 0;
      if (version !== expected) throw new CvmpError('CAS_MISMATCH', `${key} has ${version}`);
    }
    for (const { key, value, version } of puts) this.records.set(key, { value, version });
    for (const { key } of deletes) this.records.delete(key);
    this.commits.push(change);
  }
}
