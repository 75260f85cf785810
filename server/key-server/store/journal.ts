import { CvmpError } from '#core/errors.js';
import type { SignedCheckpoint } from '#core/log/checkpoint.js';
import type { LatePut } from './seal.js';
import {
  type Change,
  type Expectation,
  notAnchored,
  type Put,
  type Store,
  type Stored,
} from './store.js';

/** What one operation wants to write, all of it or nothing. */
export interface Draft<Event> {
  readonly puts?: readonly LatePut[] | undefined;
  readonly deletes?: readonly Expectation[] | undefined;
  /** What the decision was built on and does not change. */
  readonly unchanged?: readonly Expectation[] | undefined;
  /** The decision, recorded in the same batch. */
  readonly event?: Event;
  /** Called once others see it, before it is durable: for what is kept in memory. */
  readonly submitted?: (() => void) | undefined;
}

/** Turns the events of one batch into records of the log. Batches come one after the other. */
export interface BatchLog<Event> {
  /** @param events at least one */
  record(events: readonly Event[]): Batched | Promise<Batched>;
}

/** The records of one batch; they count once it is durable. */
export interface Batched {
  readonly puts: readonly LatePut[];
  /** Position of the first record; the others follow. */
  readonly first: number;
  /** Signs for the log with these records. */
  readonly checkpoint: Promise<SignedCheckpoint> | undefined;
  /** Called once the batch is durable. */
  readonly accept: () => void;
}

/** What a recorded decision may be told as. */
export interface Receipt {
  /** Position of its record in the log, from 1. */
  readonly index: number;
  /** With the record in it; the same for all decisions of one batch. */
  readonly checkpoint: SignedCheckpoint;
}

/** Is told of every batch once it is durable. Must not throw. */
export interface JournalObserver<Event> {
  /** @param operations that shared the batch */
  committed(operations: number, events: readonly Event[], seconds: number): void;
}

/** The decision was built on values that have changed since: read again, decide again. */
export class StaleRead extends Error {}

const draftsMax = 256;

interface Group<Event> {
  readonly drafts: Draft<Event>[];
  /** Those that came out as {@link StaleRead}. */
  readonly stale: Set<Draft<Event>>;
  /** Positions of their records. */
  readonly indexes: Map<Draft<Event>, number>;
  /** Signs for the records of the group. */
  checkpoint: Promise<SignedCheckpoint> | undefined;
  readonly done: Promise<SignedCheckpoint | undefined>;
  readonly resolve: (checkpoint: Promise<SignedCheckpoint> | undefined) => void;
  readonly reject: (error: unknown) => void;
}

interface Pending<Event> {
  readonly version: number;
  readonly put: LatePut | undefined;
  readonly group: Group<Event>;
}

const unanchored = notAnchored();

/**
 * The one way into the store: gathers the drafts of many operations into one durable batch (group
 * commit), in the order of their calls. An operation sees what others before it have submitted,
 * durable or not; nothing is answered before its own batch is durable, and batches become durable
 * in order, so nobody learns of what may be lost.
 */
export class Journal<Event> {
  readonly #store: Store;
  readonly #log: BatchLog<Event>;
  readonly #observer: JournalObserver<Event> | undefined;
  readonly #groups: Group<Event>[] = [];
  /** Newest submitted, not yet durable write of each key. */
  readonly #pending = new Map<string, Pending<Event>>();
  #writing: Promise<void> | undefined;
  #refusal: CvmpError | undefined;
  #halted: CvmpError | undefined;

  constructor(store: Store, log: BatchLog<Event>, observer?: JournalObserver<Event>) {
    this.#store = store;
    this.#log = log;
    this.#observer = observer;
  }

  /** Why nothing can be written any more; undefined while all is well. */
  get failure(): CvmpError | undefined {
    return this.#refusal ?? this.#halted ?? (this.#store.anchored ? undefined : unanchored);
  }

  /** Nothing is decided while there is a reason against it; undefined: there is none any more. */
  halt(reason: CvmpError | undefined): void {
    this.#halted = reason;
  }

  /** Sees what was submitted, durable or not. @throws CvmpError STORE_CORRUPT, UNAVAILABLE */
  async get(key: string): Promise<Stored | undefined> {
    const pending = this.#pending.get(key);
    if (pending === undefined) return this.#store.get(key);
    const { put, version } = pending;
    return put === undefined ? undefined : { value: put.seal(), version };
  }

  /**
   * Resolves once durable.
   * @returns undefined where nothing was recorded
   * @throws StaleRead; CvmpError STORE_WRITE (then for ever), RESTORED_READ_ONLY, SHUTTING_DOWN
   */
  async submit(draft: Draft<Event>): Promise<Receipt | undefined> {
    if (this.failure !== undefined) throw this.failure;
    this.#checkPending(draft);
    const group = this.#openGroup();
    group.drafts.push(draft);
    for (const put of draft.puts ?? []) {
      this.#pending.set(put.key, { version: put.version, put, group });
    }
    for (const { key } of draft.deletes ?? []) {
      this.#pending.set(key, { version: 0, put: undefined, group });
    }
    draft.submitted?.();
    const checkpoint = await group.done;
    if (group.stale.has(draft)) throw new StaleRead();
    const index = group.indexes.get(draft);
    if (index === undefined || checkpoint === undefined) return undefined;
    return { index, checkpoint };
  }

  /** Waits for what was submitted. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Waits for what was submitted, then closes the store. */
  async close(): Promise<void> {
    this.#refusal ??= new CvmpError('SHUTTING_DOWN', 'the Key Server is shutting down');
    await this.#writing;
    await this.#store.close();
  }

  #checkPending({ puts, deletes, unchanged }: Draft<Event>): void {
    for (const list of [puts, deletes, unchanged]) {
      for (const { key, expected } of list ?? []) {
        const pending = this.#pending.get(key);
        if (pending !== undefined && pending.version !== expected) throw new StaleRead();
      }
    }
  }

  #openGroup(): Group<Event> {
    const last = this.#groups.at(-1);
    if (last !== undefined && last.drafts.length < draftsMax) return last;
    const group = newGroup<Event>();
    this.#groups.push(group);
    // Not at once: the requests that arrived together go into one batch.
    this.#writing ??= new Promise((resolve) => {
      setImmediate(() => resolve(this.#writeAll()));
    });
    return group;
  }

  async #writeAll(): Promise<void> {
    for (let group = this.#groups.shift(); group !== undefined; group = this.#groups.shift()) {
      try {
        await this.#write(group.drafts, group);
      } catch (error) {
        this.#fail(error, group);
        break;
      }
      this.#settle(group);
      // The next batch is written while whoever waits for this one waits for its signature.
      group.resolve(group.checkpoint);
    }
    this.#writing = undefined;
  }

  async #write(drafts: readonly Draft<Event>[], group: Group<Event>): Promise<void> {
    const recorded = drafts.filter(({ event }) => event !== undefined);
    const events = recorded.map(({ event }) => event!);
    const batched = events.length === 0 ? undefined : await this.#log.record(events);
    const started = performance.now();
    try {
      await this.#store.commit(merged([...drafts, { puts: batched?.puts }]));
    } catch (error) {
      if (!(error instanceof CvmpError && error.code === 'CAS_MISMATCH')) throw error;
      // Another server changed something: find out whose draft it concerns.
      if (drafts.length === 1) group.stale.add(drafts[0]!);
      else for (const draft of drafts) await this.#write([draft], group);
      return;
    }
    batched?.accept();
    group.checkpoint = batched?.checkpoint ?? group.checkpoint;
    for (const [i, draft] of recorded.entries()) group.indexes.set(draft, batched!.first + i);
    this.#observer?.committed(drafts.length, events, (performance.now() - started) / 1000);
  }

  #settle(group: Group<Event>): void {
    for (const draft of group.drafts) {
      for (const list of [draft.puts, draft.deletes]) {
        for (const { key } of list ?? []) {
          if (this.#pending.get(key)?.group === group) this.#pending.delete(key);
        }
      }
    }
  }

  /** Fail closed: what is durable is unknown, so nothing is answered any more. */
  #fail(error: unknown, group: Group<Event>): void {
    this.#refusal =
      error instanceof CvmpError
        ? error
        : new CvmpError('STORE_WRITE', 'a batch could not be written', { cause: error });
    for (const waiting of [group, ...this.#groups.splice(0)]) waiting.reject(this.#refusal);
  }
}

function newGroup<Event>(): Group<Event> {
  let resolve: Group<Event>['resolve'] = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const done = new Promise<SignedCheckpoint | undefined>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  const indexes = new Map<Draft<Event>, number>();
  return { drafts: [], stale: new Set(), indexes, checkpoint: undefined, done, resolve, reject };
}

/** One change of many: each key once, from the first expected version to the last put. */
function merged(drafts: readonly Draft<unknown>[]): Change {
  const expected = new Map<string, number>();
  const last = new Map<string, LatePut | undefined>();
  for (const { puts, deletes, unchanged } of drafts) {
    for (const list of [unchanged, puts, deletes]) {
      for (const e of list ?? []) if (!expected.has(e.key)) expected.set(e.key, e.expected);
    }
    for (const put of puts ?? []) last.set(put.key, put);
    for (const { key } of deletes ?? []) last.set(key, undefined);
  }
  const puts: Put[] = [];
  const deletes: Expectation[] = [];
  const unchanged: Expectation[] = [];
  for (const [key, version] of expected) {
    const put = last.get(key);
    if (put !== undefined) {
      puts.push({ key, value: put.seal(), expected: version, version: put.version });
    } else if (last.has(key) && version > 0) {
      deletes.push({ key, expected: version });
    } else {
      unchanged.push({ key, expected: version });
    }
  }
  return { puts, deletes, unchanged };
}
