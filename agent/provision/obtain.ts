import { CvmpError, type ErrorCode } from '#core/errors.js';
import type { AgentConfig } from '../config.js';
import type { Disk, DiskSlot, OpenSlot } from '../disk/disk.js';
import type { AcquiredKey, KeySession, ReleasedKey } from '../session/key-session.js';

/** What was done with the disk, as GuestStatus says it. */
export type DiskAction = 'formatted' | 'opened' | 'rekeyed' | '';

/** A Security Key in the guest's hands. The receiver zeroises `released.key`. */
export interface ObtainedKey {
  readonly released: ReleasedKey;
  /** The slot that it opens; undefined where the agent keeps no disk. */
  readonly slot: DiskSlot | undefined;
  readonly action: DiskAction;
  /** SVN to change the disk's key to, of the newest epoch, where the Key Server advises it. */
  readonly rekeyTo: number | undefined;
}

export interface ObtainRequest extends Pick<AgentConfig, 'keyId' | 'purpose'> {
  /** Of the allocation, should there be one; the same for all attempts of this boot. */
  readonly requestId: Uint8Array;
}

/** Answers that leave another slot's key worth asking for; a token may have been tampered with. */
const tryOlder: readonly ErrorCode[] = ['SVN_ABOVE_LEVEL', 'KEY_RETIRED', 'NOT_FOUND'];

/**
 * Obtains the key of the disk and opens it: an unformatted disk is formatted with a new key (or,
 * where a KeyID is configured, one more from that key's root key); a formatted one is opened with
 * the key that its header names. Without a disk, the configured KeyID or a new key.
 * @throws CvmpError of the Key Server; DISK
 */
export async function obtainKey(
  disk: Disk | undefined,
  session: KeySession,
  request: ObtainRequest,
): Promise<ObtainedKey> {
  if (disk === undefined) return obtainWithoutDisk(session, request);
  return disk.slots === undefined
    ? formatDisk(disk, session, request)
    : openDisk(disk, disk.slots, session);
}

async function obtainWithoutDisk(
  session: KeySession,
  request: ObtainRequest,
): Promise<ObtainedKey> {
  const { keyId } = request;
  const released =
    keyId === undefined
      ? await session.alloc(request)
      : await session.acquire(keyId, undefined, 'boot');
  return { released, slot: undefined, action: '', rekeyTo: undefined };
}

async function formatDisk(
  disk: Disk,
  session: KeySession,
  request: ObtainRequest,
): Promise<ObtainedKey> {
  const released = await session.alloc(request);
  return zeroisedOnError(released, async () => {
    const { keyId, svn, epoch, key } = released;
    const slot = await disk.format(key, { keyId, svn, epoch });
    await disk.open({ slot, key });
    return { released, slot, action: 'formatted', rekeyTo: undefined };
  });
}

/**
 * Newest slot first: after an interrupted re-key both may open. The older one is for a CVM that no
 * longer proves the level of the newer.
 */
async function openDisk(
  disk: Disk,
  slots: readonly DiskSlot[],
  session: KeySession,
): Promise<ObtainedKey> {
  let refusal = new CvmpError('DISK', 'no key of the Key Server opens a slot of the disk');
  for (const slot of slots) {
    const released = await acquireFor(slot, session);
    if (released instanceof CvmpError) {
      refusal = released;
      continue;
    }
    const obtained = await zeroisedOnError(released, () =>
      tryOpen(disk, { slot, key: released.key }, released),
    );
    if (obtained !== undefined) return obtained;
    released.key.fill(0);
  }
  throw refusal;
}

async function acquireFor(slot: DiskSlot, session: KeySession): Promise<AcquiredKey | CvmpError> {
  const { keyId, svn, epoch } = slot.token;
  try {
    return await session.acquire(keyId, svn, 'boot', epoch);
  } catch (error) {
    if (error instanceof CvmpError && tryOlder.includes(error.code)) return error;
    throw error;
  }
}

async function tryOpen(
  disk: Disk,
  opener: OpenSlot,
  released: AcquiredKey,
): Promise<ObtainedKey | undefined> {
  if (!(await disk.testOpen(opener.slot, opener.key))) return undefined;
  await disk.open(opener);
  return { released, slot: opener.slot, action: 'opened', rekeyTo: rekeyTarget(disk, released) };
}

/** More than one slot is a re-key that was interrupted: it is ended. */
function rekeyTarget(disk: Disk, released: AcquiredKey): number | undefined {
  const due = released.rekeyAdvised || disk.slots!.length > 1;
  return due ? released.rekeySvn : undefined;
}

async function zeroisedOnError<T>(released: ReleasedKey, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    released.key.fill(0);
    throw error;
  }
}
