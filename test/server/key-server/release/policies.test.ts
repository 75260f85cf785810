import { toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import type { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { policyType, signTyped } from '#wire/signed-policy.js';
import { refusalOf } from '../../../refusal.js';
import {
  call,
  grantOf,
  levels,
  newKey,
  newPlace,
  nextPolicy,
  openPlace,
  type Place,
  policyMessage,
  requestId,
  signedPolicy,
  signingKey,
  withTenant,
} from '../state.js';

let place: Place;
let state: KeyServerState;

beforeEach(async () => {
  place = await newPlace('policies');
  state = await openPlace(place);
});

afterEach(() => state.close());

async function reopen(): Promise<void> {
  await state.close();
  state = await openPlace(place);
}

const publicOf = async () => {
  const { curve, publicPoint } = await signingKey();
  return encodeCoseKey(ecPublicKey(curve, publicPoint));
};

const otherKey = async () => {
  const { curve, publicPoint } = await crypto.generateEcKey('P-384');
  return encodeCoseKey(ecPublicKey(curve, publicPoint));
};

describe('tenants', () => {
  it('are registered once by their public key, and there after a restart', async () => {
    const key = await publicOf();
    const tenant = await state.tenants.register('acme', key, call);
    expect(tenant).toMatchObject({ tenantId: 'acme', registered: place.now });
    place.now += 1000;
    const again = await state.tenants.register('acme', key, call);
    expect(again.registered).toBe(tenant.registered);
    const other = state.tenants.register('acme', await otherKey(), call);
    expect(await refusalOf(other)).toBe('ALREADY_EXISTS');
    await reopen();
    expect(await state.tenants.get('acme')).toEqual(tenant);
    expect(await state.tenants.get('bolt')).toBeUndefined();
  });

  it('registered at once by two operators, one key wins', async () => {
    const keys = [await publicOf(), await otherKey()];
    const codes = await Promise.all(
      keys.map((key) => refusalOf(state.tenants.register('acme', key, call))),
    );
    expect(codes.sort()).toEqual(['ALREADY_EXISTS', 'accepted']);
  });

  it('what is no public key is refused', async () => {
    const bad = state.tenants.register('acme', new Uint8Array(5), call);
    expect(await refusalOf(bad)).not.toBe('accepted');
    expect(await state.tenants.get('acme')).toBeUndefined();
  });

  it('are listed in pages in the order of their ids', async () => {
    for (const id of ['cord', 'acme', 'bolt']) {
      await state.tenants.register(id, await publicOf(), call);
    }
    const first = await state.tenants.list({ pageSize: 2, pageToken: '' });
    expect(first.items.map((t) => t.tenantId)).toEqual(['acme', 'bolt']);
    const rest = await state.tenants.list({ pageSize: 2, pageToken: first.nextPageToken });
    expect(rest.items.map((t) => t.tenantId)).toEqual(['cord']);
    expect(rest.nextPageToken).toBe('');
  });
});

describe('setting a policy (protocol.md s.6.3)', () => {
  const set = async (changes: Parameters<typeof policyMessage>[0], dryRun = false) =>
    state.policies.set('acme', await signedPolicy(await signingKey(), changes), call, { dryRun });

  it('it is stored as its tenant signed it and found again after a restart', async () => {
    const { signed, digest } = await withTenant(state);
    expect(digest).toEqual(crypto.hash('sha256', signed));
    await nextPolicy(state, { svnFloor: 2 });
    await reopen();
    const current = await state.policies.get('acme', 'web', 0);
    expect(current.policy).toMatchObject({ version: 2, svnFloor: 2 });
    const old = await state.policies.get('acme', 'web', 1);
    expect(old.signed).toEqual(signed);
    expect(old.policy.svnFloor).toBe(1);
    for (const [id, version] of [['web', 3] as const, ['db', 0] as const]) {
      expect(await refusalOf(state.policies.get('acme', id, version))).toBe('NOT_FOUND');
    }
    expect(await refusalOf(state.policies.get('bolt', 'web', 0))).toBe('NOT_FOUND');
  });

  it('the same bytes again change nothing', async () => {
    const { signed } = await withTenant(state);
    const again = await state.policies.set('acme', signed, call);
    expect(again).toMatchObject({ accepted: true, keysRaised: 0 });
    expect((await state.policies.get('acme', 'web', 0)).policy.version).toBe(1);
  });

  it('a dry run says what would happen and stores nothing', async () => {
    const policy = await withTenant(state);
    await state.keys.allocate(grantOf(policy, 4), requestId(), newKey);
    const prevDigest = policy.digest;
    const outcome = await set({ version: 2n, prevDigest, svnFloor: 3 }, true);
    expect(outcome).toMatchObject({ accepted: false, keysRaised: 1 });
    expect(outcome.warnings.join()).toContain('below level 3 lose one existing key');
    expect((await state.policies.get('acme', 'web', 0)).policy.version).toBe(1);
    expect(await refusalOf(set({ version: 3n, prevDigest }, true))).toBe('POLICY_CHAIN');
  });

  it('signed by somebody else it is refused', async () => {
    await withTenant(state);
    const mallory = await crypto.generateEcKey('P-256');
    const signed = await signedPolicy(mallory, { policyId: 'db', cvmNames: ['db-*'] });
    expect(await refusalOf(state.policies.set('acme', signed, call))).toBe('SIGNATURE_INVALID');
    expect(await refusalOf(state.policies.get('acme', 'db', 0))).toBe('NOT_FOUND');
  });

  it('a policy of one tenant is none of another, though one key signs for both', async () => {
    const { signed } = await withTenant(state);
    await state.tenants.register('bolt', await publicOf(), call);
    expect(await refusalOf(state.policies.set('bolt', signed, call))).toBe('INVALID_FIELD');
    expect(await refusalOf(state.policies.set('cord', signed, call))).toBe('NOT_FOUND');
  });

  it.each([
    ['a first version that is not 1', { policyId: 'db', version: 2n }, 'POLICY_CHAIN'],
    ['a next version that is not', { version: 3n }, 'POLICY_CHAIN'],
    ['another predecessor', { version: 2n, prevDigest: new Uint8Array(32) }, 'POLICY_CHAIN'],
    ['the first version with other content', { svnFloor: 2 }, 'POLICY_CHAIN'],
    ['a name that another policy has', { policyId: 'db' }, 'ALREADY_EXISTS'],
    ['a floor above its levels', { policyId: 'db', svnFloor: 5 }, 'POLICY_INVALID'],
  ])('refused: %s', async (_, changes, code) => {
    await withTenant(state);
    expect(await refusalOf(set(changes))).toBe(code);
  });

  it.each([
    ['the floor', { svnFloor: 1 }, 'policy.svn_floor'],
    ['the number of levels', { levels: levels(3) }, 'policy.levels'],
    [
      'a level',
      { levels: [1, 2, 3, 4].map((n) => ({ n, snp: {} })) },
      'policy.levels[0].snp.tcb_min[Genoa]',
    ],
  ])('a next version that lowers %s is refused, naming the field', async (_, changes, field) => {
    await withTenant(state, 'acme', { svnFloor: 2 });
    await expect(nextPolicy(state, changes)).rejects.toMatchObject({
      code: 'POLICY_NOT_TIGHTER',
      field,
    } satisfies Partial<CvmpError>);
  });

  it('of two next versions set at once one is in force', async () => {
    const policy = await withTenant(state);
    const next = (svnFloor: number) =>
      set({ version: 2n, prevDigest: policy.digest, svnFloor }).then((o) => o.policy.svnFloor);
    const results = await Promise.allSettled([next(2), next(3)]);
    const won = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
    expect(won).toHaveLength(1);
    const current = await state.policies.get('acme', 'web', 0);
    expect(current.policy).toMatchObject({ version: 2, svnFloor: won[0] });
  });

  it('unknown fields and trailing bytes inside the signature are refused', async () => {
    await withTenant(state);
    const bytes = toBinary(SetKeyPolicySchema, policyMessage({ policyId: 'db' }));
    for (const extra of [[0xf8, 0x07, 0x01], [0x08]]) {
      const signed = await signTyped(
        await signingKey(),
        policyType,
        new Uint8Array([...bytes, ...extra]),
      );
      expect(await refusalOf(state.policies.set('acme', signed, call))).not.toBe('accepted');
    }
  });
});

describe('which policy covers a CVM', () => {
  it('the one with the longest match, as soon as it is set', async () => {
    const web = await withTenant(state, 'acme', { cvmNames: ['*'] });
    expect((await state.policies.covering('acme', 'web-1'))?.digest).toEqual(web.digest);
    const narrow = await withTenant(state, 'acme', { policyId: 'narrow', cvmNames: ['web-1'] });
    expect(await state.policies.covering('acme', 'web-1')).toMatchObject({ digest: narrow.digest });
    expect(await state.policies.covering('acme', 'web-2')).toMatchObject({ digest: web.digest });
    expect(await state.policies.covering('bolt', 'web-1')).toBeUndefined();
  });

  it('warns of rules that admit more than they seem to', async () => {
    await withTenant(state);
    const signed = await signedPolicy(await signingKey(), {
      policyId: 'db',
      cvmNames: ['db-*'],
      appraisal: { snp: { measurements: [{ digest: new Uint8Array(48) }], products: ['Milan'] } },
      levels: [{ n: 1, snp: { guestSvnMin: 3 } }],
    });
    const { warnings } = await state.policies.set('acme', signed, call, { dryRun: true });
    expect(warnings).toHaveLength(2);
    expect(warnings.join()).toMatch(/id_key_digests.*chip_allow/);
  });

  it('warns where a policy takes CVMs from another one', async () => {
    await withTenant(state, 'acme', { cvmNames: ['*'] });
    const signed = await signedPolicy(await signingKey(), { policyId: 'db', cvmNames: ['db-*'] });
    const { warnings } = await state.policies.set('acme', signed, call, { dryRun: true });
    expect(warnings.join()).toContain('covers CVMs that web covered');
  });

  it('current versions are listed in pages in the order of their ids', async () => {
    for (const policyId of ['c', 'a', 'b']) {
      await withTenant(state, 'acme', { policyId, cvmNames: [policyId] });
    }
    const first = await state.policies.list('acme', { pageSize: 2, pageToken: '' });
    const rest = await state.policies.list('acme', { pageSize: 2, pageToken: first.nextPageToken });
    const ids = [...first.items, ...rest.items].map(({ policy }) => policy.policyId);
    expect(ids).toEqual(['a', 'b', 'c']);
  });
});
