import { equalBytes } from '#core/bytes.js';
import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { openCheckpoint, parseCheckpoint, type SignedCheckpoint } from '#core/log/checkpoint.js';
import type { KeyServerState } from '../release/contract.js';
import type { StateOptions } from '../release/open.js';
import { withStoreAtRest } from './open.js';

export interface Anchored {
  /** Records of the log. */
  readonly logSize: number;
  /** Newest checkpoint that was shown. */
  readonly shownSize: number;
  /** Records of the log, or commits of the store, that are known to be lost: the greater number. */
  readonly lost: number;
}

/**
 * An operator says that nothing newer than this store is known: it serves again.
 * @param shown checkpoints of this server that others keep, the newest among them
 * @param acceptedLoss what is known to be lost and the operator gives up; 0: nothing
 * @throws CvmpError STORE_BEHIND where a checkpoint is ahead of the log by another number,
 *   SERVER_ROLLBACK where the log went another way, SIGNATURE_INVALID, SERVER_UNTRUSTED, MALFORMED
 */
export async function anchorStore(
  folder: string,
  options: StateOptions,
  shown: readonly Uint8Array[],
  acceptedLoss: number,
): Promise<Anchored> {
  return withStoreAtRest(folder, options, async ({ store, state }) => {
    const newest = await newestOf(shown, state);
    const { size: logSize } = await state.log.newest();
    const lost = Math.max(0, newest.size - logSize, store.behind);
    if (lost !== acceptedLoss) throw lossOf(lost, newest.size, logSize);
    if (newest.size <= logSize) await mustContinue(newest, state);
    store.anchor();
    await record(state, lost);
    return { logSize, shownSize: newest.size, lost };
  });
}

function lossOf(lost: number, shown: number, logSize: number): CvmpError {
  const sizes = `a checkpoint has ${shown} records, this log ${logSize}`;
  return new CvmpError('STORE_BEHIND', `${sizes}; lost: ${lost}`);
}

async function newestOf(
  shown: readonly Uint8Array[],
  { identity }: KeyServerState,
): Promise<SignedCheckpoint> {
  const key = ecPublicKey(identity.curve, identity.publicPoint);
  const own = shown.filter((each) => equalBytes(parseCheckpoint(each).keyServer, thumbprint(key)));
  // Who shows none of this server's is told whose it is.
  const all = own.length > 0 ? own : shown;
  const opened = await Promise.all(all.map((signed) => openCheckpoint(signed, key)));
  const [newest] = opened.sort((a, b) => b.size - a.size);
  if (newest === undefined) throw new CvmpError('USAGE', 'no checkpoint was named');
  return newest;
}

async function mustContinue(newest: SignedCheckpoint, { log }: KeyServerState): Promise<void> {
  if (equalBytes(await log.rootAt(newest.size), newest.root)) return;
  const what = `the log had another root at ${newest.size} records: it is of a copy that went on apart`;
  throw new CvmpError('SERVER_ROLLBACK', what);
}

/** The log says that it was anchored, and what was given up. */
function record({ audit }: KeyServerState, lost: number): Promise<unknown> {
  return audit.record({
    operation: 'store_anchored',
    tenantId: undefined,
    actor: 'operator',
    requestId: `lost ${lost}`,
  });
}
