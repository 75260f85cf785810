import { describe, expect, it } from 'vitest';
import { acquire, reallocate, rootOf, update } from '#core/keying/rules.js';
import {
  cancelDestruction,
  checkRevision,
  destroy,
  markCompromised,
  orderDestruction,
  resume,
  retireEpochs,
  rotate,
  suspend,
} from '#core/keying/tenant-rules.js';
import { refusalOf } from '../../refusal.js';
import { madePolicy, madeRecord, madeRoot } from './made.js';

const now = 1_800_000_000_000;
const proven = { policy: madePolicy(), level: 4 };
const order = { requested: now, due: now + 1000, orderDigest: new Uint8Array(32).fill(1) };
const options = { agentsRetireEpochs: false, now };

describe('suspend and resume (protocol.md s.6.9)', () => {
  it('each moves the state, its time and the revision; suspending twice moves nothing more', () => {
    const suspended = suspend(madeRecord(), now);
    expect(suspended).toMatchObject({ state: 'suspended', stateSince: now, revision: 2 });
    expect(suspend(suspended, now + 1)).toBe(suspended);
    const resumed = resume(suspended, now + 2);
    expect(resumed).toMatchObject({ state: 'active', stateSince: now + 2, revision: 3 });
  });

  it('who saw another revision is refused', async () => {
    const record = madeRecord({ revision: 4 });
    checkRevision(record, undefined);
    checkRevision(record, 4);
    expect(await refusalOf(() => checkRevision(record, 3))).toBe('CAS_MISMATCH');
  });
});

describe('a compromised key (SP 800-57 part 1 s.7.5)', () => {
  it('is still served, always with the advice to re-key, and not allocated from', async () => {
    const marked = markCompromised(madeRecord({ svnFloor: 4 }), now);
    expect(marked).toMatchObject({ state: 'active', compromisedEpoch: 1, compromisedSince: now });
    expect(acquire(madeRecord({ svnFloor: 4 }), proven, 4).rekeyAdvised).toBe(false);
    expect(acquire(marked, proven, 4).rekeyAdvised).toBe(true);
    expect(await refusalOf(() => reallocate(marked, proven, 4))).toBe('KEY_COMPROMISED');
    expect(markCompromised(marked, now + 1)).toBe(marked);
  });

  it('a new root key is not compromised', () => {
    const root = madeRoot(2, { confirmed: 0 });
    const rotated = rotate(markCompromised(madeRecord({ svnFloor: 4 }), now), root, options);
    expect(acquire(rotated, proven, 4)).toMatchObject({ epoch: 2, rekeyAdvised: false });
    expect(acquire(rotated, proven, 4, 1)).toMatchObject({ epoch: 1, rekeyAdvised: true });
    expect(reallocate(rotated, proven, 4).release.epoch).toBe(2);
  });
});

describe('epochs', () => {
  const root = (epoch: number) => madeRoot(epoch, { confirmed: 0 });
  const rotated = rotate(madeRecord(), root(2), options);

  it('a rotation adds a root key; older epochs are served until they are retired', async () => {
    expect(rotated).toMatchObject({ epoch: 2, revision: 2, state: 'active' });
    expect(acquire(rotated, proven, 2).epoch).toBe(2);
    expect(acquire(rotated, proven, 2, 1)).toMatchObject({ epoch: 1, rekeyAdvised: true });
    expect(await refusalOf(() => acquire(rotated, proven, 2, 3))).toBe('NOT_FOUND');
    expect(await refusalOf(() => acquire(rotated, proven, 2, 0))).toBe('NOT_FOUND');
  });

  it('no second rotation before an agent has confirmed the first', async () => {
    expect(await refusalOf(() => rotate(rotated, root(3), options))).toBe('KEY_STATE');
  });

  it('but where the unconfirmed root key is compromised', () => {
    expect(rotate(markCompromised(rotated, now), root(3), options).epoch).toBe(3);
  });

  it('four root keys at most', async () => {
    const roots = [madeRoot(1), madeRoot(2), madeRoot(3), madeRoot(4)];
    const full = madeRecord({ epoch: 4, roots });
    expect(await refusalOf(() => rotate(full, root(5), options))).toBe('QUOTA');
  });

  it('an epoch is retired only where a newer one is in use', async () => {
    expect(await refusalOf(() => retireEpochs(rotated, 2, now))).toBe('KEY_STATE');
    expect(await refusalOf(() => retireEpochs(rotated, 3, now))).toBe('INVALID_FIELD');
    expect(retireEpochs(rotated, 1, now)).toBe(rotated);
    const used = { ...rotated, roots: [madeRoot(1), madeRoot(2)] };
    const retired = retireEpochs(used, 2, now);
    expect(retired.roots).toEqual([madeRoot(2)]);
    expect(await refusalOf(() => rootOf(retired, 1))).toBe('KEY_RETIRED');
    expect(await refusalOf(() => acquire(retired, proven, 2, 1))).toBe('KEY_RETIRED');
  });

  it('agents retire epochs only where the tenant said so, and only below a confirmed one', async () => {
    const ask = { targetSvn: 2, expectedFloor: undefined, retireBelow: undefined };
    const raise = { ...ask, retireEpochsBelow: 2 };
    const used = { ...rotated, roots: [madeRoot(1), madeRoot(2)] };
    expect(update(used, proven, raise)).toMatchObject({ changed: false, next: used });
    const allowed = { ...used, agentsRetireEpochs: true };
    expect(update(allowed, proven, raise)).toMatchObject({ changed: true });
    expect(update(allowed, proven, raise).next.roots).toEqual([madeRoot(2)]);
    const unconfirmed = { ...rotated, agentsRetireEpochs: true };
    expect(await refusalOf(() => update(unconfirmed, proven, raise))).toBe('KEY_STATE');
  });

  it('neither a key in hold nor one that nobody uses is rotated', async () => {
    const attempt = (state: 'suspended' | 'pre-active') =>
      refusalOf(() => rotate(madeRecord({ state }), root(2), options));
    expect(await attempt('suspended')).toBe('KEY_SUSPENDED');
    expect(await attempt('pre-active')).toBe('KEY_STATE');
  });
});

describe('destruction', () => {
  it('is pending until it is due, releases nothing, and leaves a tombstone', async () => {
    const pending = orderDestruction(madeRecord(), order, now);
    expect(pending).toMatchObject({ state: 'destroy-pending', destruction: order });
    expect(await refusalOf(() => acquire(pending, proven, 2))).toBe('KEY_DESTROY_PENDING');
    expect(await refusalOf(() => orderDestruction(pending, order, now))).toBe(
      'KEY_DESTROY_PENDING',
    );
    const tombstone = destroy(pending, now + 1000);
    expect(tombstone).toMatchObject({ state: 'destroyed', roots: [], destruction: order });
    expect(await refusalOf(() => cancelDestruction(tombstone, now))).toBe('KEY_DESTROYED');
    expect(await refusalOf(() => markCompromised(tombstone, now))).toBe('KEY_DESTROYED');
  });

  it('taken back, it leaves the key suspended, or pre-active where it never was in use', () => {
    const cancelled = cancelDestruction(orderDestruction(madeRecord(), order, now), now);
    expect(cancelled).toMatchObject({ state: 'suspended', destruction: undefined, revision: 3 });
    const fresh = madeRecord({ state: 'pre-active', activated: 0 });
    expect(cancelDestruction(orderDestruction(fresh, order, now), now).state).toBe('pre-active');
  });

  it('only what is pending falls due', async () => {
    expect(await refusalOf(() => destroy(madeRecord(), now))).toBe('KEY_STATE');
    expect(await refusalOf(() => destroy(madeRecord({ state: 'suspended' }), now))).toBe(
      'KEY_STATE',
    );
  });
});
