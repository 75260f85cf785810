import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type Disk, type DiskSlot, type DiskToken, type OpenSlot, slotsMax } from '../disk/disk.js';
import type { KeySession, ReleasedKey } from '../session/key-session.js';

/**
 * The steps of a re-key, in order. Each is durable when the next begins. A crash needs no journal:
 * the slots on the disk and the floor on the Key Server say what is left to do, and every step done
 * twice does what it did once.
 *
 * | crash after    | slots    | floor | at the next boot                                        |
 * |----------------|----------|-------|---------------------------------------------------------|
 * | acquired       | old      | old   | opens by old; begins again                              |
 * | slot added     | old, new | old   | opens by new, or by old where new is not granted        |
 * | new key opens  | old, new | old   | the same                                                |
 * | confirmed      | old, new | old   | the same                                                |
 * | floor raised   | old, new | new   | opens by new; old is still served                       |
 * | old retired    | old, new | new   | opens by new; two slots say that something is left      |
 * | old removed    | new      | new   | opens by new                                            |
 *
 * So at every point a slot opens by a key that an agent of this level may still fetch (I7 of
 * protocol.md s.6.9), and nothing is left for ever: only the last step takes away what tells of an
 * interrupted re-key. The volume key stays the same: after a compromise the data must be encrypted
 * anew.
 */
export const rekeySteps = [
  'acquired',
  'slot added',
  'new key opens',
  'confirmed',
  'floor raised',
  'old retired',
  'old removed',
] as const;

export type RekeyStep = (typeof rekeySteps)[number];

export interface RekeyJob {
  readonly disk: Disk;
  /** What opened the disk; stays the caller's to zeroise. */
  readonly opened: OpenSlot;
  /** SVN of the new Security Key, which is of the newest epoch; at most the proven level. */
  readonly target: number;
  readonly session: KeySession;
  /** Told after each step. */
  readonly after?: (step: RekeyStep) => void;
}

export interface Rekeyed {
  /** What opens the disk now; the caller's to zeroise. */
  readonly opened: OpenSlot;
  /** What kept the clearing up from its end, after the new key was in force. */
  readonly unfinished: CvmpError | undefined;
}

/**
 * Gives the disk the Security Key of another SVN or of the newest epoch.
 * @returns undefined where the disk has that key and no other: the Key Server has no better one
 * @throws CvmpError where the new key is not in force yet; then the old one opens the disk as before
 */
export async function rekey(job: RekeyJob): Promise<Rekeyed | undefined> {
  const { disk, session, target } = job;
  const { keyId } = job.opened.slot.token;
  const after = job.after ?? (() => {});
  const next = await session.acquire(keyId, target, 'rekey');
  try {
    after('acquired');
    if (disk.slots?.length === 1 && isToken(job.opened.slot.token, next)) {
      next.key.fill(0);
      return undefined;
    }
    const opened = { slot: await slotOf(job, next), key: next.key };
    after('slot added');
    if (!(await disk.testOpen(opened.slot, next.key))) {
      throw new CvmpError('DISK', 'the slot that was added does not open');
    }
    after('new key opens');
    await session.confirm(next);
    after('confirmed');
    await session.update(keyId, target, undefined);
    after('floor raised');
    return { opened, unfinished: await clearUp(job, opened, after) };
  } catch (error) {
    next.key.fill(0);
    throw error;
  }
}

function isToken({ keyId, svn, epoch }: DiskToken, key: ReleasedKey): boolean {
  return svn === key.svn && epoch === key.epoch && equalBytes(keyId, key.keyId);
}

/** The slot of the new key: the one that an earlier, interrupted re-key left, or one added now. */
async function slotOf(job: RekeyJob, next: ReleasedKey): Promise<DiskSlot> {
  const { disk, opened: opener } = job;
  for (const slot of disk.slots ?? []) {
    if (!isToken(slot.token, next)) continue;
    if (await disk.testOpen(slot, next.key)) return slot;
    // A token that the provider changed: it would stand in the way for ever.
    if (slot.id !== opener.slot.id) await disk.removeSlot(slot, opener);
  }
  if (disk.slots?.length === slotsMax) await settle(job);
  const { keyId, svn, epoch } = next;
  return disk.addSlot(opener, next.key, { keyId, svn, epoch });
}

/**
 * Re-keys that were interrupted again and again have filled the header: ends them at the key that
 * opened, which then is in force.
 */
async function settle({ disk, opened, session }: RekeyJob): Promise<void> {
  const { keyId, svn } = opened.slot.token;
  try {
    await session.update(keyId, svn, undefined);
  } catch (error) {
    // The floor lies above it, so it is every agent's to fetch already.
    if (!(error instanceof CvmpError && error.code === 'SVN_NOT_INCREASING')) throw error;
  }
  await removeOthers(disk, opened);
}

async function removeOthers(disk: Disk, opened: OpenSlot): Promise<void> {
  for (const slot of disk.slots ?? []) {
    if (slot.id !== opened.slot.id) await disk.removeSlot(slot, opened);
  }
}

/** Both keys open, the new one is in force: from here on nothing that fails costs the disk. */
async function clearUp(
  { disk, session, target }: RekeyJob,
  opened: OpenSlot,
  after: (step: RekeyStep) => void,
): Promise<CvmpError | undefined> {
  try {
    const { keyId, epoch } = opened.slot.token;
    await session.update(keyId, target, { svn: target, epoch });
    after('old retired');
    await removeOthers(disk, opened);
    after('old removed');
    return undefined;
  } catch (error) {
    if (error instanceof CvmpError) return error;
    throw error;
  }
}
