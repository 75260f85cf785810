import type { Entry, Range, Store, Stored } from '#server/key-server/store/store.js';

/** A store that tells which reads were made of it. */
export class WatchedStore implements Store {
  readonly #store: Store;
  readonly #onRead: (what: string) => void;
  readonly commit: Store['commit'];
  readonly snapshot: Store['snapshot'];
  readonly close: Store['close'];

  constructor(store: Store, onRead: (what: string) => void) {
    this.#store = store;
    this.#onRead = onRead;
    this.commit = (change) => store.commit(change);
    this.snapshot = () => store.snapshot();
    this.close = () => store.close();
  }

  get id(): Uint8Array {
    return this.#store.id;
  }

  get anchored(): boolean {
    return this.#store.anchored;
  }

  get(key: string): Promise<Stored | undefined> {
    this.#onRead(`get ${key}`);
    return this.#store.get(key);
  }

  list(range: Range): Promise<readonly Entry[]> {
    this.#onRead(`list ${range.prefix}`);
    return this.#store.list(range);
  }
}
