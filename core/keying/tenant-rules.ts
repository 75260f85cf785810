import { CvmpError } from '../errors.js';
import { type KeyRecord, type PendingDestruction, type RootEpoch, rootsMax } from './key-record.js';
import { nextState } from './lifecycle.js';
import { rootOf } from './rules.js';

/**
 * What a tenant does to its keys (protocol.md s.6.5, s.6.9), as pure functions of the record: each
 * gives the next record, or the same one where nothing is left to do. A refusal throws.
 */

/** @throws CvmpError CAS_MISMATCH. @param expected undefined: whatever it is */
export function checkRevision(record: KeyRecord, expected: number | undefined): void {
  if (expected === undefined || expected === record.revision) return;
  const field = 'expected_revision';
  const what = `the key is at revision ${record.revision}, not ${expected}`;
  throw new CvmpError('CAS_MISMATCH', what, { field });
}

function moved(record: KeyRecord, now: number, change: Partial<KeyRecord>): KeyRecord {
  const stateSince =
    change.state === undefined || change.state === record.state ? record.stateSince : now;
  return { ...record, ...change, stateSince, revision: record.revision + 1 };
}

/** Nothing is released until it is resumed. @throws CvmpError KEY_* */
export function suspend(record: KeyRecord, now: number): KeyRecord {
  const state = nextState(record.state, 'suspend');
  return state === record.state ? record : moved(record, now, { state });
}

/** @throws CvmpError KEY_* */
export function resume(record: KeyRecord, now: number): KeyRecord {
  return moved(record, now, { state: nextState(record.state, 'resume') });
}

/**
 * Takes the key from the instance that has it, for another one.
 * @throws CvmpError KEY_DESTROYED, KEY_STATE
 */
export function takeOver(record: KeyRecord, now: number): KeyRecord {
  nextState(record.state, 'take over');
  const { lease } = record;
  if (lease === undefined || lease.until === 0) return record;
  return moved(record, now, { lease: { ...lease, until: 0 } });
}

/**
 * Marks every root key that there is. It is not taken back: a new root key is the way out.
 * @throws CvmpError KEY_DESTROYED
 */
export function markCompromised(record: KeyRecord, now: number): KeyRecord {
  nextState(record.state, 'mark compromised');
  const { epoch: compromisedEpoch } = record;
  if (record.compromisedEpoch === compromisedEpoch) return record;
  return moved(record, now, { compromisedEpoch, compromisedSince: now });
}

/**
 * A new root key beside the older ones.
 * @param root of epoch `record.epoch + 1`, unconfirmed
 * @throws CvmpError KEY_*; KEY_STATE where the newest epoch is in no agent's use yet, QUOTA where
 *   older ones must be retired first
 */
export function rotate(
  record: KeyRecord,
  root: RootEpoch,
  options: { readonly agentsRetireEpochs: boolean; readonly now: number },
): KeyRecord {
  const state = nextState(record.state, 'rotate');
  const compromised = record.compromisedEpoch >= record.epoch;
  // Epochs in nobody's use only pile up; unless the unused one must not come into use at all.
  if (rootOf(record, record.epoch).confirmed === 0 && !compromised) {
    throw new CvmpError('KEY_STATE', `no agent has confirmed epoch ${record.epoch} yet`);
  }
  if (record.roots.length >= rootsMax) {
    const oldest = record.roots[0]!.epoch;
    throw new CvmpError('QUOTA', `the key has ${rootsMax} root keys: retire epoch ${oldest} first`);
  }
  const { agentsRetireEpochs, now } = options;
  const roots = [...record.roots, root];
  return moved(record, now, { state, epoch: root.epoch, roots, agentsRetireEpochs });
}

/**
 * Ends the epochs below `below` for good: what only their root keys open is lost.
 * @throws CvmpError KEY_*; KEY_STATE where no agent confirmed `below`
 */
export function retireEpochs(record: KeyRecord, below: number, now: number): KeyRecord {
  const state = nextState(record.state, 'retire epochs');
  const field = 'below';
  if (below > record.epoch) {
    throw new CvmpError('INVALID_FIELD', `the newest epoch is ${record.epoch}`, { field });
  }
  const roots = record.roots.filter(({ epoch }) => epoch >= below);
  if (roots.length === record.roots.length) return record;
  if (!roots.some(({ confirmed }) => confirmed > 0)) {
    const what = `no agent has confirmed epoch ${below} or a newer one: their disks need the older`;
    throw new CvmpError('KEY_STATE', what, { field });
  }
  return moved(record, now, { state, roots });
}

/** From now on nothing is released. @throws CvmpError KEY_* */
export function orderDestruction(
  record: KeyRecord,
  destruction: PendingDestruction,
  now: number,
): KeyRecord {
  return moved(record, now, { state: nextState(record.state, 'destroy'), destruction });
}

/** The key is suspended then, or pre-active where it was never in use. @throws CvmpError KEY_* */
export function cancelDestruction(record: KeyRecord, now: number): KeyRecord {
  const next = nextState(record.state, 'cancel destroy');
  const state = record.activated === 0 ? 'pre-active' : next;
  return moved(record, now, { state, destruction: undefined });
}

/**
 * The tombstone: no root key is left, the KeyID stays taken for ever. The order stays, for receipts.
 * @throws CvmpError KEY_*
 */
export function destroy(record: KeyRecord, now: number): KeyRecord {
  return moved(record, now, { state: nextState(record.state, 'fall due'), roots: [] });
}
