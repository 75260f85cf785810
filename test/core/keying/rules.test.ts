import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CvmpError } from '#core/errors.js';
import type { KeyState } from '#core/keying/key-record.js';
import { keyLifecycle, nextState } from '#core/keying/lifecycle.js';
import {
  acquire,
  allocate,
  checkValidity,
  confirm,
  confirmable,
  effectiveFloor,
  reallocate,
  update,
} from '#core/keying/rules.js';
import { refusalOf } from '../../refusal.js';
import { madePolicy, madeRecord, madeRoot } from './made.js';

const noRaise = { expectedFloor: undefined, retireBelow: undefined };
const rules = madePolicy().keyRules;
const tenantRaises = { keyRules: { ...rules, tenantOnlyRaises: true } };

function fieldOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return (error as CvmpError).field;
  }
  return undefined;
}

describe('KeyAlloc of a new key (protocol.md s.6.3, s.6.4)', () => {
  const row = (level: number, svn: number | undefined, policy = madePolicy(), keys = 0) =>
    allocate({ policy, level }, { purpose: 'disk', svn }, keys);

  it('is derived for the floor of the policy unless asked otherwise, and that becomes its floor', () => {
    const policy = madePolicy({ svnFloor: 2 });
    expect(row(3, undefined, policy)).toMatchObject({ svn: 2, svnFloor: 2, svnRetired: 2 });
    expect(row(3, 3, policy)).toMatchObject({ svn: 3, svnFloor: 3, svnRetired: 3 });
  });

  it.each([
    ['a level below the floor of the policy', 1, undefined, 2, 'SVN_BELOW_FLOOR'],
    ['no level at all', 0, undefined, 1, 'SVN_BELOW_FLOOR'],
    ['an SVN above the level', 2, 3, 1, 'SVN_ABOVE_LEVEL'],
    ['an SVN below the floor of the policy', 3, 1, 2, 'SVN_NOT_INCREASING'],
    ['an SVN equal to the level', 3, 3, 1, 'accepted'],
  ] as const)('%s', async (_, level, svn, svnFloor, code) => {
    expect(await refusalOf(() => row(level, svn, madePolicy({ svnFloor })))).toBe(code);
  });

  it('a purpose that the policy does not admit is refused', async () => {
    const ask = () =>
      allocate({ policy: madePolicy(), level: 1 }, { purpose: 'data', svn: undefined }, 0);
    expect(await refusalOf(ask)).toBe('POLICY_REFUSED');
    expect(fieldOf(ask)).toBe('purpose');
  });

  it('the quota counts the keys that there are', async () => {
    const policy = madePolicy({ keyRules: { ...rules, keysMax: 3 } });
    expect(await refusalOf(() => row(1, 1, policy, 2))).toBe('accepted');
    expect(await refusalOf(() => row(1, 1, policy, 3))).toBe('QUOTA');
  });
});

describe('KeyAlloc naming a key: re-allocation from its root key (draft s.3.3.4)', () => {
  it('raises the floor to the SVN and leaves what is served', () => {
    const { next, release } = reallocate(madeRecord(), { policy: madePolicy(), level: 4 }, 3);
    expect(next).toEqual(madeRecord({ svnFloor: 3 }));
    expect(release).toMatchObject({ svn: 3, svnFloor: 3, svnRetired: 1 });
  });

  it.each([
    ['without an SVN it takes the floor', 2, undefined, 1, false, 'accepted'],
    ['a level below the floor of the key', 1, undefined, 1, false, 'SVN_BELOW_FLOOR'],
    ['a level below the floor of the policy', 2, undefined, 3, false, 'SVN_BELOW_FLOOR'],
    ['an SVN below the floor', 4, 1, 1, false, 'SVN_NOT_INCREASING'],
    ['an SVN above the level', 3, 4, 1, false, 'SVN_ABOVE_LEVEL'],
    ['a raise that only the tenant may make', 4, 3, 1, true, 'POLICY_REFUSED'],
    ['the floor itself is no raise', 4, 2, 1, true, 'accepted'],
  ] as const)('%s', async (_, level, svn, svnFloor, tenantOnly, code) => {
    const policy = madePolicy({ svnFloor, ...(tenantOnly ? tenantRaises : {}) });
    expect(await refusalOf(() => reallocate(madeRecord(), { policy, level }, svn))).toBe(code);
  });
});

describe('KeyAcquire (protocol.md s.6.4 (4))', () => {
  const record = madeRecord({ svnFloor: 3, svnRetired: 2 });

  it.each([
    ['at the floor, the key of the floor', 3, undefined, 1, 3],
    ['above the floor, still the key of the floor', 4, undefined, 1, 3],
    ['an older key, for an agent at the floor', 3, 2, 1, 2],
    ['the key of the own level, before the floor is raised', 4, 4, 1, 4],
    ['the floor of the policy counts where it is higher', 4, undefined, 4, 4],
  ] as const)('%s', (_, level, svn, svnFloor, given) => {
    const release = acquire(record, { policy: madePolicy({ svnFloor }), level }, svn);
    expect(release.svn).toBe(given);
    expect(release.svnFloor).toBe(Math.max(3, svnFloor));
  });

  it.each([
    ['an agent below the floor, whatever it asks', 2, 2, 1, 'SVN_BELOW_FLOOR'],
    ['an agent below the floor of the policy', 3, 3, 4, 'SVN_BELOW_FLOOR'],
    ['an SVN above the level', 3, 4, 1, 'SVN_ABOVE_LEVEL'],
    ['a retired SVN', 4, 1, 1, 'KEY_RETIRED'],
  ] as const)('refuses %s', async (_, level, svn, svnFloor, code) => {
    const policy = madePolicy({ svnFloor });
    expect(await refusalOf(() => acquire(record, { policy, level }, svn))).toBe(code);
  });

  it.each([
    ['the key of the floor, at its level', 3, 3, {}, false],
    ['a key below the floor', 3, 2, {}, true],
    ['a level above the floor', 4, 3, {}, true],
    ['a level above the floor that the agent may not raise', 4, 3, tenantRaises, false],
  ] as const)('advises to re-key a disk: %s', (_, level, svn, changes, advised) => {
    const policy = madePolicy(changes);
    expect(acquire(record, { policy, level }, svn).rekeyAdvised).toBe(advised);
  });
});

describe('KeyUpdate (protocol.md s.6.4 (5))', () => {
  const record = madeRecord({ svnFloor: 2, svnRetired: 1 });
  const ask = (level: number, targetSvn: number, more = {}, policy = madePolicy()) =>
    update(record, { policy, level }, { targetSvn, ...noRaise, ...more });

  it('raises the floor up to the level', () => {
    expect(ask(4, 4)).toEqual({ next: { ...record, svnFloor: 4 }, oldFloor: 2, changed: true });
  });

  it('a target equal to the floor changes nothing', () => {
    expect(ask(3, 2)).toEqual({ next: record, oldFloor: 2, changed: false });
  });

  it('the floor of the policy is written into the record', () => {
    const answer = ask(3, 3, {}, madePolicy({ svnFloor: 3 }));
    expect(answer).toEqual({ next: { ...record, svnFloor: 3 }, oldFloor: 3, changed: false });
  });

  it('retires older keys up to the floor, and never takes that back', () => {
    expect(ask(3, 3, { retireBelow: 3 }).next).toMatchObject({ svnFloor: 3, svnRetired: 3 });
    expect(ask(3, 2, { retireBelow: 2 }).changed).toBe(true);
    expect(ask(3, 2, { retireBelow: 1 })).toMatchObject({ changed: false, next: record });
  });

  it.each([
    ['a target below the floor', 4, 1, {}, {}, 'SVN_NOT_INCREASING', 'target_svn'],
    ['a target above the level', 3, 4, {}, {}, 'SVN_ABOVE_LEVEL', 'target_svn'],
    ['an agent below the floor', 1, 2, {}, {}, 'SVN_BELOW_FLOOR', undefined],
    [
      'an agent below the floor of the policy',
      2,
      3,
      {},
      { svnFloor: 3 },
      'SVN_BELOW_FLOOR',
      undefined,
    ],
    [
      'another floor than expected',
      4,
      3,
      { expectedFloor: 1 },
      {},
      'CAS_MISMATCH',
      'expected_floor',
    ],
    ['retiring above the floor', 4, 3, { retireBelow: 4 }, {}, 'INVALID_FIELD', 'retire_below'],
    ['a raise that only the tenant may make', 4, 3, {}, tenantRaises, 'POLICY_REFUSED', undefined],
  ] as const)('refuses %s', async (_, level, target, more, changes, code, field) => {
    const work = () => ask(level, target, more, madePolicy(changes));
    expect(await refusalOf(work)).toBe(code);
    expect(fieldOf(work)).toBe(field);
  });
});

describe('KeyConfirm', () => {
  const kcv = new Uint8Array(8).fill(3);

  const at = { epoch: 1, now: 1_800_000_000_000 };

  it('makes a pre-active key active, and again changes nothing', () => {
    const roots = [madeRoot(1, { confirmed: 0 })];
    const fresh = madeRecord({ state: 'pre-active', activated: 0, roots });
    const confirmed = confirm(fresh, kcv, kcv, at);
    expect(confirmed).toMatchObject({ state: 'active', revision: 2 });
    expect(confirmed).toMatchObject({ activated: at.now, stateSince: at.now });
    expect(confirmed.roots).toEqual([madeRoot(1, { confirmed: at.now })]);
    expect(confirm(confirmed, kcv, kcv, { ...at, now: at.now + 1 })).toBe(confirmed);
  });

  it('confirms each epoch by itself', () => {
    const roots = [madeRoot(1), madeRoot(2, { confirmed: 0 })];
    const rotated = madeRecord({ epoch: 2, roots });
    expect(confirm(rotated, kcv, kcv, at)).toBe(rotated);
    const confirmed = confirm(rotated, kcv, kcv, { ...at, epoch: 2 });
    expect(confirmed.roots[1]).toEqual(madeRoot(2, { confirmed: at.now }));
    expect(confirmed.roots[0]).toBe(roots[0]);
  });

  it('refuses a key check value of another key', async () => {
    const other = new Uint8Array(8).fill(4);
    expect(await refusalOf(() => confirm(madeRecord(), other, kcv, at))).toBe('KCV_MISMATCH');
  });

  it('asks for nothing that the agent could not acquire', async () => {
    const proven = { policy: madePolicy(), level: 1 };
    expect(await refusalOf(() => confirmable(madeRecord(), proven, 1))).toBe('SVN_BELOW_FLOOR');
  });
});

describe('the key state machine (protocol.md s.6.9)', () => {
  const states = Object.keys(keyLifecycle) as KeyState[];
  const rows = states.flatMap((state) =>
    Object.entries(keyLifecycle[state]).map(
      ([operation, next]) => [state, operation, next] as const,
    ),
  );

  it('knows five states and thirteen operations, every pair of them', () => {
    expect(rows).toHaveLength(65);
  });

  it.each(rows)('%s, %s: %s', async (state, operation, next) => {
    const step = () => nextState(state, operation as Parameters<typeof nextState>[1]);
    if (states.includes(next as KeyState)) expect(step()).toBe(next);
    else expect(await refusalOf(step)).toBe(next);
  });

  it('DESTROYED is terminal', () => {
    const onward = rows.filter(([state, , next]) => state === 'destroyed' && next !== 'destroyed');
    expect(onward.every(([, , next]) => next === 'KEY_DESTROYED')).toBe(true);
  });

  it.each([
    ['suspended', 'KEY_SUSPENDED'],
    ['destroy-pending', 'KEY_DESTROY_PENDING'],
    ['destroyed', 'KEY_DESTROYED'],
  ] as const)('a %s key releases nothing (I3)', async (state, code) => {
    const record = madeRecord({ state });
    const proven = { policy: madePolicy(), level: 4 };
    expect(await refusalOf(() => acquire(record, proven, undefined))).toBe(code);
    expect(await refusalOf(() => reallocate(record, proven, undefined))).toBe(code);
    expect(await refusalOf(() => confirmable(record, proven, 2))).toBe(code);
    expect(await refusalOf(() => update(record, proven, { targetSvn: 3, ...noRaise }))).toBe(code);
  });

  it('a key that is not yet confirmed is not updated', async () => {
    const record = madeRecord({ state: 'pre-active' });
    const proven = { policy: madePolicy(), level: 4 };
    const work = () => update(record, proven, { targetSvn: 3, ...noRaise });
    expect(await refusalOf(work)).toBe('KEY_STATE');
  });
});

describe('validity of a policy', () => {
  it.each([
    ['before it', 99, 'POLICY_EXPIRED'],
    ['at its begin', 100, 'accepted'],
    ['within', 150, 'accepted'],
    ['at its end', 200, 'POLICY_EXPIRED'],
  ] as const)('%s', async (_, now, code) => {
    const policy = madePolicy({ notBefore: 100, notAfter: 200 });
    expect(await refusalOf(() => checkValidity(policy, now))).toBe(code);
    expect(await refusalOf(() => checkValidity(madePolicy(), now))).toBe('accepted');
  });
});

describe('whatever is asked, the invariants hold (protocol.md s.6.9)', () => {
  const svn = fc.integer({ min: 1, max: 6 });
  const perhaps = fc.option(svn, { nil: undefined });
  const marks = fc.record({ svnFloor: svn, svnRetired: svn }).map((m) => ({
    svnFloor: m.svnFloor,
    svnRetired: Math.min(m.svnFloor, m.svnRetired),
  }));

  it('I1, I2, I3: marks never fall, retired <= floor <= level, nothing leaves outside them', () => {
    fc.assert(
      fc.property(marks, svn, svn, perhaps, svn, perhaps, (m, floor, level, s, target, retire) => {
        const record = madeRecord(m);
        const policy = madePolicy({ svnFloor: floor });
        const least = effectiveFloor(record, policy);
        const attempt = <T>(work: () => T): T | undefined => {
          try {
            return work();
          } catch {
            return undefined;
          }
        };
        const releases = [
          attempt(() => acquire(record, { policy, level }, s)),
          attempt(() => reallocate(record, { policy, level }, s).release),
        ];
        for (const release of releases) {
          if (release === undefined) continue;
          expect(level).toBeGreaterThanOrEqual(least);
          expect(release.svn).toBeLessThanOrEqual(level);
          expect(release.svn).toBeGreaterThanOrEqual(record.svnRetired);
        }
        const raise = { targetSvn: target, expectedFloor: undefined, retireBelow: retire };
        const nexts = [
          attempt(() => reallocate(record, { policy, level }, s).next),
          attempt(() => update(record, { policy, level }, raise).next),
        ];
        for (const next of nexts) {
          if (next === undefined) continue;
          expect(next.svnFloor).toBeGreaterThanOrEqual(least);
          expect(next.svnFloor).toBeLessThanOrEqual(level);
          expect(next.svnRetired).toBeGreaterThanOrEqual(record.svnRetired);
          expect(next.svnRetired).toBeLessThanOrEqual(next.svnFloor);
        }
      }),
      { numRuns: 500 },
    );
  });
});
