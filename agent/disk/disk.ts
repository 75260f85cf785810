import { CvmpError } from '#core/errors.js';

/**
 * The contract of an encrypted disk's header, kept by the LUKS2 and the volume backend
 * (test/contracts/disk.ts holds both to it).
 *
 * The provider owns the disk and may change it at any time. So a backend reads the header once, at
 * load, into memory of the guest, refuses it unless it is one that this agent would have written,
 * and from then on works on that copy alone; the disk itself is only written to.
 */

/** Which Security Key opens a slot. Kept in the header in clear: it is not secret, and a changed
 *  token only leads to a key that opens nothing. */
export interface DiskToken {
  /** 16 bytes. */
  readonly keyId: Uint8Array;
  readonly svn: number;
  readonly epoch: number;
}

/** A key slot of the header. */
export interface DiskSlot {
  readonly id: number;
  readonly token: DiskToken;
}

/** A slot with the Security Key that opens it. */
export interface OpenSlot {
  readonly slot: DiskSlot;
  readonly key: Uint8Array;
}

/** Every operation that changes the header leaves it whole on the disk, whenever power fails. */
export interface Disk {
  readonly backend: 'luks' | 'volume';
  /** Slots, newest epoch and SVN first; undefined while the disk is unformatted. */
  readonly slots: readonly DiskSlot[] | undefined;
  /**
   * Writes a first header with one slot.
   * @throws CvmpError DISK where the disk is formatted already
   */
  format(key: Uint8Array, token: DiskToken): Promise<DiskSlot>;
  /** Whether `key` opens the slot. */
  testOpen(slot: DiskSlot, key: Uint8Array): Promise<boolean>;
  /**
   * Opens the disk. `mapped`: it is there as a block device; `proved`: the key is the right one,
   * nothing was asked to be mapped.
   * @throws CvmpError DISK where the key does not open the slot
   */
  open(opener: OpenSlot): Promise<'mapped' | 'proved'>;
  /**
   * Adds a slot for another Security Key.
   * @throws CvmpError DISK where `opener` does not open, or no slot is free
   */
  addSlot(opener: OpenSlot, key: Uint8Array, token: DiskToken): Promise<DiskSlot>;
  /**
   * Removes a slot and its token.
   * @param opener another slot, which must open: the last key is never removed
   * @throws CvmpError DISK
   */
  removeSlot(slot: DiskSlot, opener: OpenSlot): Promise<void>;
  /** Drops the private copy of the header. What is mapped stays mapped. */
  close(): Promise<void>;
}

/** Slots that a header may have: the old key, the new one, and what an abandoned re-key left. */
export const slotsMax = 4;

/** Newest epoch first, of an epoch the newest SVN. */
export function newestFirst(slots: readonly DiskSlot[]): readonly DiskSlot[] {
  const age = (a: DiskToken, b: DiskToken) => b.epoch - a.epoch || b.svn - a.svn;
  return [...slots].sort((a, b) => age(a.token, b.token) || b.id - a.id);
}

/** Lowest id that no slot has. @throws CvmpError DISK where there is none */
export function freeSlot(slots: readonly DiskSlot[]): number {
  for (let id = 0; id < slotsMax; id++) if (!slots.some((slot) => slot.id === id)) return id;
  throw new CvmpError('DISK', 'every slot of the header is taken');
}
