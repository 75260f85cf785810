import { CvmpError } from '#core/errors.js';

/**
 * What the Key Server asks of a database. LevelDB is the embedded one; etcd can follow: a commit is
 * one of its transactions. Versions are ours and travel with the value, so that a sealed value can
 * be bound to its version before it is written.
 */
export interface Store {
  /** Names this store among all others; 16 bytes, made by init. */
  readonly id: Uint8Array;
  /**
   * False where what was acknowledged last may be missing (after a restore): it can be read, but
   * nothing may be decided on it.
   */
  readonly anchored: boolean;
  /** Sees every commit that was answered. @throws CvmpError STORE_CORRUPT, UNAVAILABLE */
  get(key: string): Promise<Stored | undefined>;
  /**
   * One page of keys that begin with a prefix, in bytewise order, as they were at one moment.
   * @throws CvmpError STORE_CORRUPT, UNAVAILABLE
   */
  list(range: Range): Promise<readonly Entry[]>;
  /**
   * All or nothing, in the order of the calls; answered once durable.
   * @throws CvmpError CAS_MISMATCH: a version is not the expected one, nothing was written;
   *   STORE_WRITE: perhaps not durable, and from now on this store refuses every commit;
   *   RESTORED_READ_ONLY: it is not anchored; SHUTTING_DOWN
   */
  commit(change: Change): Promise<void>;
  /** Everything as it is after the last commit, whatever is committed meanwhile. */
  snapshot(): Snapshot;
  /** Waits for what was submitted. */
  close(): Promise<void>;
}

/** A store at one moment; etcd's is a revision. */
export interface Snapshot {
  /** See {@link Store.list}. */
  list(range: Range): Promise<readonly Entry[]>;
  close(): Promise<void>;
}

export interface Stored {
  readonly value: Uint8Array;
  readonly version: number;
}

export interface Entry extends Stored {
  readonly key: string;
}

export interface Range {
  readonly prefix: string;
  /** Exclusive: only keys greater than this one (`reverse`: less). */
  readonly after?: string;
  readonly reverse?: boolean;
  /** At most so many entries; 1 to 1000. */
  readonly limit: number;
}

/** A version that must hold; 0: the key is not there. Keys are printable ASCII, at most 256. */
export interface Expectation {
  readonly key: string;
  readonly expected: number;
}

export interface Put extends Expectation {
  readonly value: Uint8Array;
  /** The version that it gets, greater than `expected`, at most 2^48 - 1. */
  readonly version: number;
}

/** Each key occurs once. */
export interface Change {
  readonly puts?: readonly Put[];
  readonly deletes?: readonly Expectation[];
  /** Not written, but the version must hold. */
  readonly unchanged?: readonly Expectation[];
}

/** Why a store that is not anchored refuses commits. */
export function notAnchored(): CvmpError {
  return new CvmpError('RESTORED_READ_ONLY', 'the store is not anchored: it only reads');
}
