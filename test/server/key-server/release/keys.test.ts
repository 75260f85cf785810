import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import type {
  KeyServerState,
  SessionGrant,
  StoredPolicy,
} from '#server/key-server/release/contract.js';
import { refusalOf } from '../../../refusal.js';
import {
  grantOf,
  levels,
  newKey,
  newPlace,
  nextPolicy,
  openPlace,
  type Place,
  requestId,
  withTenant,
} from '../state.js';

let place: Place;
let state: KeyServerState;
let policy: StoredPolicy;

beforeEach(async () => {
  place = await newPlace('keys');
  state = await openPlace(place);
  policy = await withTenant(state);
});

afterEach(() => state.close());

const acquire = (grant: SessionGrant, keyId: Uint8Array, svn?: number) =>
  state.keys.acquire(grant, requestId(), { keyId, svn, reason: 'boot' });
const update = (grant: SessionGrant, keyId: Uint8Array, targetSvn: number, more = {}) =>
  state.keys.update(grant, requestId(), {
    keyId,
    targetSvn,
    expectedFloor: undefined,
    retireBelow: undefined,
    ...more,
  });

/** A key that is allocated and confirmed. */
async function activeKey(grant: SessionGrant, svn?: number) {
  const key = await state.keys.allocate(grant, requestId(), { ...newKey, svn });
  await state.keys.confirm(grant, requestId(), { keyId: key.keyId, svn: key.svn, kcv: key.kcv });
  return key;
}

async function reopen(): Promise<void> {
  await state.close();
  state = await openPlace(place);
  policy = await state.policies.get('acme', 'web', 0);
}

describe('a key and its life (protocol.md s.6.3, s.6.9)', () => {
  it('is allocated, confirmed, and is the same after a restart (I6)', async () => {
    const grant = grantOf(policy, 2);
    const key = await state.keys.allocate(grant, requestId(), newKey);
    expect(key).toMatchObject({ svn: 1, svnFloor: 1, svnRetired: 1, epoch: 1, level: 2 });
    expect(key.policyDigest).toEqual(policy.digest);
    expect(key.securityKey).toHaveLength(32);
    expect((await state.keys.get('acme', key.keyId)).state).toBe('pre-active');
    await state.keys.confirm(grant, requestId(), { keyId: key.keyId, svn: 1, kcv: key.kcv });
    expect((await state.keys.get('acme', key.keyId)).state).toBe('active');
    await reopen();
    const again = await acquire(grantOf(policy, 2), key.keyId);
    expect(toHex(again.securityKey)).toBe(toHex(key.securityKey));
    expect(again.kcv).toEqual(key.kcv);
  });

  it('a wrong key check value confirms nothing', async () => {
    const grant = grantOf(policy, 1);
    const { keyId } = await state.keys.allocate(grant, requestId(), newKey);
    const confirm = { keyId, svn: 1, kcv: new Uint8Array(8) };
    expect(await refusalOf(state.keys.confirm(grant, requestId(), confirm))).toBe('KCV_MISMATCH');
    expect((await state.keys.get('acme', keyId)).state).toBe('pre-active');
    expect(await refusalOf(update(grant, keyId, 1))).toBe('KEY_STATE');
  });

  it('an agent raises the floor; one below it loses the key, others keep older ones', async () => {
    const key = await activeKey(grantOf(policy, 1));
    expect(await update(grantOf(policy, 3), key.keyId, 3)).toEqual({
      oldFloor: 1,
      newFloor: 3,
      lowestEpoch: 1,
      svnRetired: 1,
      changed: true,
    });
    expect(await refusalOf(acquire(grantOf(policy, 2), key.keyId, 1))).toBe('SVN_BELOW_FLOOR');
    const old = await acquire(grantOf(policy, 3), key.keyId, 1);
    expect(toHex(old.securityKey)).toBe(toHex(key.securityKey));
    expect(old.rekeyAdvised).toBe(true);
    const now = await acquire(grantOf(policy, 3), key.keyId);
    expect(now.svn).toBe(3);
    expect(toHex(now.securityKey)).not.toBe(toHex(key.securityKey));
    await update(grantOf(policy, 3), key.keyId, 3, { retireBelow: 3 });
    expect(await refusalOf(acquire(grantOf(policy, 4), key.keyId, 1))).toBe('KEY_RETIRED');
  });

  it('re-allocation gives another Security Key of the same root key and raises the floor', async () => {
    const key = await activeKey(grantOf(policy, 2));
    const ask = { ...newKey, keyId: key.keyId, svn: 2 };
    const next = await state.keys.allocate(grantOf(policy, 2), requestId(), ask);
    expect(next).toMatchObject({ svn: 2, svnFloor: 2, svnRetired: 1 });
    expect(next.keyId).toEqual(key.keyId);
    const old = await acquire(grantOf(policy, 2), key.keyId, 1);
    expect(toHex(old.securityKey)).toBe(toHex(key.securityKey));
  });

  it('says when a key was last released, exact to the minute', async () => {
    const { keyId } = await activeKey(grantOf(policy, 1));
    const { created, released } = await state.keys.get('acme', keyId);
    expect(released).toBe(created);
    place.now += 59_000;
    await acquire(grantOf(policy, 1), keyId);
    expect((await state.keys.get('acme', keyId)).released).toBe(created);
    place.now += 1_000;
    await acquire(grantOf(policy, 1), keyId);
    expect((await state.keys.get('acme', keyId)).released).toBe(created + 60_000);
  });

  it('keys are listed in pages, without their secret', async () => {
    const made = await Promise.all(Array.from({ length: 5 }, () => activeKey(grantOf(policy, 1))));
    const ids = made.map(({ keyId }) => toHex(keyId)).sort();
    const first = await state.keys.list('acme', { pageSize: 3, pageToken: '' });
    const second = await state.keys.list('acme', { pageSize: 3, pageToken: first.nextPageToken });
    const listed = [...first.items, ...second.items];
    expect(listed.map(({ keyId }) => toHex(keyId))).toEqual(ids);
    expect(second.nextPageToken).toBe('');
    expect(listed.every((info) => !('wrappedRootKey' in info))).toBe(true);
    expect((await state.keys.list('bolt', { pageSize: 3, pageToken: '' })).items).toEqual([]);
  });
});

describe('whose key it is (protocol.md s.6.5)', () => {
  it('unknown and foreign KeyIDs are the same NOT_FOUND in every operation', async () => {
    const { keyId } = await activeKey(grantOf(policy, 1));
    const foreign = grantOf(await withTenant(state, 'bolt'), 4);
    for (const id of [keyId, new Uint8Array(16)]) {
      const kcv = new Uint8Array(8);
      const attempts = [
        acquire(foreign, id),
        update(foreign, id, 2),
        state.keys.allocate(foreign, requestId(), { ...newKey, keyId: id }),
        state.keys.confirm(foreign, requestId(), { keyId: id, svn: 1, kcv }),
        state.keys.get('bolt', id),
      ];
      const codes = await Promise.all(attempts.map(refusalOf));
      expect(new Set(codes)).toEqual(new Set(['NOT_FOUND']));
    }
  });

  it('another CVM under the same policy may have it; one under another policy not', async () => {
    const { keyId } = await activeKey(grantOf(policy, 1));
    const peer = grantOf(policy, 1, { cvmName: 'web-2' });
    expect(await refusalOf(acquire(peer, keyId))).toBe('accepted');
    const own = await withTenant(state, 'acme', { policyId: 'db', cvmNames: ['db-*'] });
    const stranger = grantOf(own, 4, { cvmName: 'db-1' });
    expect(await refusalOf(acquire(stranger, keyId))).toBe('POLICY_REFUSED');
  });

  it('no policy, nothing is released', async () => {
    const { keyId } = await activeKey(grantOf(policy, 1));
    const outside = grantOf(policy, 4, { cvmName: 'mail-1' });
    expect(await refusalOf(acquire(outside, keyId))).toBe('NO_POLICY');
    expect(await refusalOf(state.keys.allocate(outside, requestId(), newKey))).toBe('NO_POLICY');
  });
});

describe('the policy in force decides, not the one at the begin of the session', () => {
  it('a raise of its floor works at once, also in open sessions (s.6.4 (6))', async () => {
    const low = grantOf(policy, 2);
    const { keyId } = await activeKey(low);
    const next = await nextPolicy(state, { svnFloor: 3 });
    expect(next).toMatchObject({ accepted: true, keysRaised: 1 });
    expect(await refusalOf(acquire(low, keyId))).toBe('SVN_BELOW_FLOOR');
    expect((await state.keys.get('acme', keyId)).svnFloor).toBe(3);
    const released = await acquire(grantOf(next, 3), keyId);
    expect(released).toMatchObject({ svn: 3, svnFloor: 3, svnRetired: 1 });
  });

  it('the floor of the policy becomes the key’s own when that is next written', async () => {
    const { keyId } = await activeKey(grantOf(policy, 2));
    await nextPolicy(state, { svnFloor: 3 });
    const result = await update(grantOf(policy, 3), keyId, 3);
    expect(result).toMatchObject({ oldFloor: 3, newFloor: 3, changed: false });
    await reopen();
    expect((await state.keys.get('acme', keyId)).svnFloor).toBe(3);
  });

  it('the claims of an open session are appraised again, once for each policy', async () => {
    let appraisals = 0;
    const grant = grantOf(policy, 2, {
      appraise: () => {
        appraisals++;
        return { level: 1, failures: [] };
      },
    });
    const { keyId } = await activeKey(grant);
    expect(appraisals).toBe(0);
    await nextPolicy(state, { levels: levels(5) });
    expect((await acquire(grant, keyId)).level).toBe(1);
    await acquire(grant, keyId);
    expect(appraisals).toBe(1);
  });

  it('a session that the new policy does not admit is refused with its reason', async () => {
    const grant = grantOf(policy, 2, {
      appraise: () => ({
        level: 0,
        failures: [{ code: 'POLICY_MEASUREMENT', check: 'snp.measurement', message: 'withdrawn' }],
      }),
    });
    const { keyId } = await activeKey(grant);
    await nextPolicy(state);
    expect(await refusalOf(acquire(grant, keyId))).toBe('POLICY_MEASUREMENT');
  });

  it('outside of its validity it releases nothing', async () => {
    const grant = grantOf(policy, 2);
    const { keyId } = await activeKey(grant);
    await nextPolicy(state, {
      notAfter: { seconds: BigInt(place.now / 1000 + 10), nanos: 0 },
    });
    expect(await refusalOf(acquire(grant, keyId))).toBe('accepted');
    place.now += 10_000;
    expect(await refusalOf(acquire(grant, keyId))).toBe('POLICY_EXPIRED');
  });

  it('after the end of the lease the agent must attest again', async () => {
    const grant = grantOf(policy, 2, { leaseExpires: place.now + 1000 });
    const { keyId } = await activeKey(grant);
    place.now += 1000;
    expect(await refusalOf(acquire(grant, keyId))).toBe('REATTEST_REQUIRED');
  });
});

describe('quota and purposes', () => {
  it('a policy has its number of keys, also when they are asked for at once', async () => {
    await nextPolicy(state, { keyRules: { keysMax: 10 } });
    const grant = grantOf(policy, 1);
    const codes = await Promise.all(
      Array.from({ length: 25 }, () => refusalOf(state.keys.allocate(grant, requestId(), newKey))),
    );
    expect(codes.filter((code) => code === 'accepted')).toHaveLength(10);
    expect(codes.filter((code) => code === 'QUOTA')).toHaveLength(15);
    await reopen();
    const more = state.keys.allocate(grantOf(policy, 1), requestId(), newKey);
    expect(await refusalOf(more)).toBe('QUOTA');
  });

  it('a policy counts what a raise of its floor would touch', async () => {
    const grant = grantOf(policy, 4);
    await Promise.all([1, 2, 2, 3].map((svn) => activeKey(grant, svn)));
    const two = await activeKey(grant, 2);
    await update(grant, two.keyId, 4);
    expect((await nextPolicy(state, { svnFloor: 3 })) as unknown).toMatchObject({ keysRaised: 3 });
    expect((await nextPolicy(state, { svnFloor: 4 })) as unknown).toMatchObject({ keysRaised: 4 });
  });
});

describe('the same request again (protocol.md s.6.5)', () => {
  it('gives the same key, before and after a restart', async () => {
    const grant = grantOf(policy, 2);
    const id = requestId();
    const first = await state.keys.allocate(grant, id, newKey);
    const second = await state.keys.allocate(grant, id, newKey);
    await reopen();
    const third = await state.keys.allocate(grantOf(policy, 2), id, newKey);
    for (const again of [second, third]) {
      expect(toHex(again.keyId)).toBe(toHex(first.keyId));
      expect(toHex(again.securityKey)).toBe(toHex(first.securityKey));
    }
    expect((await state.keys.list('acme', { pageSize: 9, pageToken: '' })).items).toHaveLength(1);
  });

  it('sent twice at once it allocates once', async () => {
    const grant = grantOf(policy, 2);
    const id = requestId();
    const keys = await Promise.all(
      Array.from({ length: 8 }, () => state.keys.allocate(grant, id, newKey)),
    );
    expect(new Set(keys.map(({ keyId }) => toHex(keyId))).size).toBe(1);
  });

  it('an update gives the answer of the first time', async () => {
    const grant = grantOf(policy, 4);
    const { keyId } = await activeKey(grant);
    const ask = { keyId, targetSvn: 3, expectedFloor: 1, retireBelow: undefined };
    const id = requestId();
    const first = await state.keys.update(grant, id, ask);
    await update(grant, keyId, 4);
    expect(await state.keys.update(grant, id, ask)).toMatchObject(first);
    expect((await state.keys.get('acme', keyId)).svnFloor).toBe(4);
  });

  it('is decided anew: what may no longer be released is not', async () => {
    const id = requestId();
    await state.keys.allocate(grantOf(policy, 2), id, newKey);
    const next = await nextPolicy(state, { svnFloor: 3 });
    const again = state.keys.allocate(grantOf(next, 2), id, newKey);
    expect(await refusalOf(again)).toBe('SVN_BELOW_FLOOR');
  });

  it('with other content it is refused, whatever else it would change', async () => {
    const grant = grantOf(policy, 2);
    const id = requestId();
    const { keyId } = await state.keys.allocate(grant, id, newKey);
    const others = [
      state.keys.allocate(grant, id, { ...newKey, length: 64 }),
      state.keys.allocate(grant, id, { ...newKey, keyId }),
      state.keys.allocate({ ...grant, cvmName: 'web-2' }, id, newKey),
      state.keys.update(grant, id, {
        keyId,
        targetSvn: 2,
        expectedFloor: undefined,
        retireBelow: undefined,
      }),
    ];
    const codes = await Promise.all(others.map(refusalOf));
    expect(new Set(codes)).toEqual(new Set(['IDEMPOTENCY_MISMATCH']));
  });

  it('another tenant’s id is another id', async () => {
    const id = requestId();
    const [a, b] = [grantOf(policy, 1), grantOf(await withTenant(state, 'bolt'), 1)];
    const keys = [
      await state.keys.allocate(a, id, newKey),
      await state.keys.allocate(b, id, newKey),
    ];
    expect(toHex(keys[0]!.keyId)).not.toBe(toHex(keys[1]!.keyId));
  });
});

describe('many at once', () => {
  it('of updates that expect the same floor one wins', async () => {
    const grant = grantOf(policy, 4);
    const { keyId } = await activeKey(grant);
    const codes = await Promise.all(
      [2, 3, 4, 2, 3, 4].map((target) =>
        refusalOf(update(grant, keyId, target, { expectedFloor: 1 })),
      ),
    );
    expect(codes.filter((code) => code === 'accepted')).toHaveLength(1);
    expect(codes.filter((code) => code === 'CAS_MISMATCH')).toHaveLength(5);
  });

  it('a race of updates leaves the highest target, and every answer is of one order', async () => {
    const grant = grantOf(policy, 4);
    const { keyId } = await activeKey(grant);
    const results = await Promise.allSettled([3, 2, 4, 3, 2].map((t) => update(grant, keyId, t)));
    const done = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
    for (const [i, { oldFloor, newFloor }] of done.entries()) {
      expect(newFloor).toBeGreaterThanOrEqual(oldFloor);
      if (i > 0) expect(oldFloor).toBe(done[i - 1]!.newFloor);
    }
    expect((await state.keys.get('acme', keyId)).svnFloor).toBe(4);
  });

  it('allocations, acquisitions and updates of many agents mix', async () => {
    const grant = grantOf(policy, 4);
    const keys = await Promise.all(Array.from({ length: 20 }, () => activeKey(grant)));
    const work = keys.flatMap(({ keyId }, i) => [
      acquire(grantOf(policy, 1 + (i % 4)), keyId),
      update(grant, keyId, 1 + (i % 4)),
      acquire(grant, keyId, 1),
      state.keys.allocate(grant, requestId(), newKey),
    ]);
    expect(new Set(await Promise.all(work.map(refusalOf)))).toEqual(new Set(['accepted']));
    await reopen();
    for (const [i, { keyId }] of keys.entries()) {
      expect((await state.keys.get('acme', keyId)).svnFloor).toBe(1 + (i % 4));
    }
  });
});
