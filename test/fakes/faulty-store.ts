import { CvmpError } from '#core/errors.js';
import type {
  Change,
  Entry,
  Range,
  Snapshot,
  Store,
  Stored,
} from '#server/key-server/store/store.js';

/** What happens at a commit: the process ends or the disk fails, before or after it is durable. */
export type Fault = 'dies before' | 'dies after' | 'fails before' | 'fails after';

export const faults: readonly Fault[] = [
  'dies before',
  'dies after',
  'fails before',
  'fails after',
];

/** A real store whose process or disk fails at one commit. */
export class FaultyStore implements Store {
  readonly #inner: Store;
  readonly #at: number;
  readonly #fault: Fault;
  readonly died: Promise<'died'>;
  #die: (how: 'died') => void = () => undefined;
  /** Commits so far. */
  commits = 0;

  /** @param at the commit that it happens at, from 1; 0: never */
  constructor(inner: Store, at = 0, fault: Fault = 'dies before') {
    this.#inner = inner;
    this.#at = at;
    this.#fault = fault;
    this.died = new Promise((resolve) => {
      this.#die = resolve;
    });
  }

  get id(): Uint8Array {
    return this.#inner.id;
  }

  get anchored(): boolean {
    return this.#inner.anchored;
  }

  get(key: string): Promise<Stored | undefined> {
    return this.#inner.get(key);
  }

  list(range: Range): Promise<readonly Entry[]> {
    return this.#inner.list(range);
  }

  snapshot(): Snapshot {
    return this.#inner.snapshot();
  }

  async commit(change: Change): Promise<void> {
    this.commits++;
    if (this.#at === 0 || this.commits < this.#at) return this.#inner.commit(change);
    if (this.#fault.endsWith('after')) await this.#inner.commit(change);
    if (this.#fault.startsWith('fails')) throw new CvmpError('STORE_WRITE', 'the disk failed');
    this.#die('died');
    return new Promise(() => undefined);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
