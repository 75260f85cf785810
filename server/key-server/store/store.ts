/**
 * What the Key Server asks of a database. LevelDB is the embedded one; etcd can follow: versions
 * are its per-key `version`, a commit is one of its transactions.
 */
export interface Store {
  /**
   * Sees every commit that this process submitted before, also those not yet durable.
   * @throws CvmpError STORE_CORRUPT, UNAVAILABLE
   */
  get(key: string): Promise<Stored | undefined>;
  /**
   * One page of keys that begin with `prefix`, in bytewise order. Keys and values as they were at
   * some moment between call and return; commits not yet durable may be missing.
   */
  list(range: Range): Promise<readonly Entry[]>;
  /**
   * All or nothing. Commits of one process become durable in the order of their calls.
   * The answer comes when everything is durable.
   * @throws CvmpError CAS_MISMATCH: a version is not the expected one, nothing was written;
   *   STORE_WRITE: not durable, and from now on this store refuses every commit
   */
  commit(change: Change): Promise<void>;
  /** Waits for what was submitted. Later calls are refused with SHUTTING_DOWN. */
  close(): Promise<void>;
}

export interface Stored {
  readonly value: Uint8Array;
  /** 1 when the key came to be, one more with each put; a deleted key begins again. */
  readonly version: number;
}

export interface Entry extends Stored {
  readonly key: string;
}

export interface Range {
  readonly prefix: string;
  /** Exclusive bound: only keys after it, or before it where `reverse`. */
  readonly after?: string;
  readonly reverse?: boolean;
  /** At most so many entries, 1 to 1000. */
  readonly limit: number;
}

/** Keys are ASCII without control characters, at most 512 characters. */
export interface Put {
  readonly key: string;
  readonly value: Uint8Array;
  /** Version now; 0: the key must not be there. The put makes it one more. */
  readonly expected: number;
}

/** A version that must hold for the commit to happen; 0: the key must not be there. */
export interface Expectation {
  readonly key: string;
  readonly expected: number;
}

export interface Change {
  readonly puts?: readonly Put[];
  /** Deletes, each with the version that it must have. */
  readonly deletes?: readonly Expectation[];
  /** Nothing is written here, but the version must hold. */
  readonly unchanged?: readonly Expectation[];
}
