import { CvmpError } from '#core/errors.js';
import type { Disk, DiskSlot, OpenSlot } from '../disk/disk.js';
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
 * | floor raised   | old, new | new   | opens by new; old is still served                       |
 * | old removed    | new      | new   | opens by new                                            |
 * | old retired    | new      | new   | opens by new                                            |
 *
 * So at every point a slot opens by a key that an agent of this level may still fetch (I7 of
 * protocol.md s.6.9). The volume key stays the same: after a compromise the data must be
 * encrypted anew.
 */
export const rekeySteps = [
  'acquired',
  'slot added',
  'new key opens',
  'floor raised',
  'old removed',
  'old retired',
] as const;

export type RekeyStep = (typeof rekeySteps)[number];

export interface RekeyJob {
  readonly disk: Disk;
  /** What opened the disk; stays the caller's to zeroise. */
  readonly opened: OpenSlot;
  /** SVN of the new Security Key: above the floor, at most the proven level. */
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
 * Gives the disk the Security Key of another SVN.
 * @throws CvmpError where the new key is not in force yet; then the old one opens the disk as before
 */
export async function rekey(job: RekeyJob): Promise<Rekeyed> {
  const { disk, session, target } = job;
  const { keyId } = job.opened.slot.token;
  const after = job.after ?? (() => {});
  const next = await session.acquire(keyId, target, 'rekey');
  try {
    after('acquired');
    const opened = { slot: await slotOf(disk, next, job.opened), key: next.key };
    after('slot added');
    if (!(await disk.testOpen(opened.slot, next.key))) {
      throw new CvmpError('DISK', 'the slot that was added does not open');
    }
    after('new key opens');
    await session.update(keyId, target, undefined);
    after('floor raised');
    return { opened, unfinished: await clearUp(job, opened, after) };
  } catch (error) {
    next.key.fill(0);
    throw error;
  }
}

/** The slot of the new key: the one that an earlier, interrupted re-key left, or one added now. */
async function slotOf(disk: Disk, next: ReleasedKey, opener: OpenSlot): Promise<DiskSlot> {
  for (const slot of disk.slots ?? []) {
    if (slot.token.svn !== next.svn) continue;
    if (await disk.testOpen(slot, next.key)) return slot;
    // A token that the provider changed, or an older epoch: it would stand in the way for ever.
    if (slot.id !== opener.slot.id) await disk.removeSlot(slot, opener);
  }
  const { keyId, svn, epoch } = next;
  return disk.addSlot(opener, next.key, { keyId, svn, epoch });
}

/** Both keys open, the new one is in force: from here on nothing that fails costs the disk. */
async function clearUp(
  { disk, session, target }: RekeyJob,
  opened: OpenSlot,
  after: (step: RekeyStep) => void,
): Promise<CvmpError | undefined> {
  try {
    for (const slot of disk.slots ?? []) {
      if (slot.id !== opened.slot.id) await disk.removeSlot(slot, opened);
    }
    after('old removed');
    await session.update(opened.slot.token.keyId, target, target);
    after('old retired');
    return undefined;
  } catch (error) {
    if (error instanceof CvmpError) return error;
    throw error;
  }
}
