/** A key encryption key (KEK) as it is kept: wrapped by the master key. */
export interface WrappedKek {
  /** Whose it is; printable ASCII, tells nothing. */
  readonly name: string;
  /** From 1; a name has two while its records are rewritten. */
  readonly version: number;
  /** Empty: destroyed for good. */
  readonly wrapped: Uint8Array;
}

/** What changes together. */
export interface VaultContent {
  /** Describes the master key: its provider and public parameters. No secret. */
  readonly master: Uint8Array;
  /** In the order of names and versions. */
  readonly keks: readonly WrappedKek[];
  /** When the vault was last copied; milliseconds since the epoch, 0: never. */
  readonly backedUp: number;
}

/**
 * Keys that decide whether records can be read at all, apart from the records: KEKs, and one erase
 * key for each root key. What is destroyed here is overwritten where it lay, so that no copy of the
 * store brings it back. Everything kept is sealed by its user.
 */
export interface Vault {
  /** Of the store that it belongs to; 16 bytes. */
  readonly id: Uint8Array;
  /** As it is durable now. */
  readonly content: VaultContent;
  /**
   * Replaces the content as a whole; durable when it resolves, then the old one is overwritten.
   * Changes follow each other.
   * @throws CvmpError STORE_WRITE
   */
  update(change: (content: VaultContent) => VaultContent | Promise<VaultContent>): Promise<void>;
  /**
   * Makes erase keys durable.
   * @param seal gives the 60 bytes that are kept under this reference
   * @returns the first reference; the others follow it
   * @throws CvmpError STORE_WRITE
   */
  reserve(count: number, seal: (ref: number) => Uint8Array): Promise<number>;
  /** {@link reserve} that blocks, for who cannot wait. */
  reserveSync(count: number, seal: (ref: number) => Uint8Array): number;
  /** The 60 bytes; undefined where they were destroyed. @throws CvmpError STORE_CORRUPT: no slot */
  read(ref: number): Uint8Array | undefined;
  /** Overwrites; durable when it resolves. @throws CvmpError STORE_WRITE */
  destroy(refs: readonly number[]): Promise<void>;
  /** Gives back what was reserved and not used. */
  release(refs: readonly number[]): Promise<void>;
  /** Copies everything into an empty folder. @throws CvmpError STORE_WRITE, ALREADY_EXISTS */
  copyTo(folder: string): Promise<void>;
  close(): Promise<void>;
}

/** Bytes that a vault keeps of an erase key. */
export const sealedEraseLength = 60;
