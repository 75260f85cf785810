import { describe, expect, onTestFinished, test } from 'vitest';
import { tenantFacts } from '#server/key-server/tenants/facts.js';
import { defaultQuotas } from '#server/key-server/tenants/quotas.js';
import { refusalOf } from '../../refusal.js';
import { startKeyServer } from './harness.js';
import {
  call,
  grantOf,
  newKey,
  newPlace,
  nextPolicy,
  openPlace,
  requestId,
  signedPolicy,
  signingKey,
  withTenant,
} from './state.js';

async function openWith(quotas: Partial<typeof defaultQuotas>) {
  const place = await newPlace('quotas');
  place.quotas = { ...defaultQuotas, ...quotas };
  const state = await openPlace(place);
  onTestFinished(() => state.close());
  return state;
}

type State = Awaited<ReturnType<typeof openWith>>;

const limit = (state: State, limits: object) =>
  state.tenants.change('acme', 'limit_tenant', (tenant) => ({ ...tenant, limits }), call);

async function usage(state: State) {
  const tenant = await state.tenants.get('acme');
  const rows = await tenantFacts(state).usage(tenant!);
  return Object.fromEntries(
    rows.map(({ resource, used, limit: most }) => [resource, [used, most]]),
  );
}

async function policy(state: State, policyId: string) {
  const signed = await signedPolicy(await signingKey(), { policyId, cvmNames: [`${policyId}-*`] });
  return state.policies.set('acme', signed, call);
}

describe('quotas of a tenant (issue 4)', () => {
  test('keys, over all policies', async () => {
    const state = await openWith({ keysPerTenantMax: 3 });
    const web = await withTenant(state);
    const db = await policy(state, 'db');
    const alloc = (of: typeof web, cvmName: string) =>
      refusalOf(state.keys.allocate(grantOf(of, 4, { cvmName }), requestId(), newKey));
    expect(await alloc(web, 'web-1')).toBe('accepted');
    expect(await alloc(db, 'db-1')).toBe('accepted');
    expect(await alloc(web, 'web-2')).toBe('accepted');
    expect(await alloc(db, 'db-2')).toBe('QUOTA');
    expect(await alloc(web, 'web-3')).toBe('QUOTA');
    expect((await usage(state)).keys).toEqual([3, 3]);
    await limit(state, { keysMax: 4 });
    expect(await alloc(web, 'web-3')).toBe('accepted');
    expect(await alloc(web, 'web-4')).toBe('QUOTA');
  });

  test('keys: many at once do not slip through', async () => {
    const state = await openWith({ keysPerTenantMax: 5 });
    const grant = grantOf(await withTenant(state), 4);
    const all = Array.from({ length: 20 }, () =>
      refusalOf(state.keys.allocate(grant, requestId(), newKey)),
    );
    const outcomes = await Promise.all(all);
    expect(outcomes.filter((outcome) => outcome === 'accepted')).toHaveLength(5);
  });

  test('policies, and the bytes of all their versions', async () => {
    const state = await openWith({ policiesPerTenantMax: 2 });
    const first = await withTenant(state);
    const second = await nextPolicy(state);
    await policy(state, 'db');
    expect(await refusalOf(policy(state, 'third'))).toBe('QUOTA');
    const db = await state.policies.get('acme', 'db', 0);
    const bytes = first.signed.length + second.signed.length + db.signed.length;
    const used = await usage(state);
    expect(used).toMatchObject({ policies: [2, 2] });
    expect(used.stored_bytes).toEqual([bytes, defaultQuotas.storedBytesPerTenantMax]);
    await limit(state, { storedBytesMax: bytes + 10, policiesMax: 3 });
    expect(await refusalOf(nextPolicy(state))).toBe('QUOTA');
    await limit(state, { policiesMax: 3 });
    expect(await refusalOf(policy(state, 'third'))).toBe('accepted');
  });

  test('sessions at once', async () => {
    const s = await startKeyServer(
      {},
      {},
      { quotas: { ...defaultQuotas, sessionsPerTenantMax: 1 } },
    );
    await s.setPolicy();
    const first = await s.agent(await s.launch());
    await first.attest();
    const second = await s.agent(await s.launch());
    await expect(second.attest()).rejects.toThrow(/QUOTA/);
    const tenant = await s.state.tenants.get('acme');
    const rows = await tenantFacts(s.state).usage(tenant!);
    expect(rows.find(({ resource }) => resource === 'sessions')?.used).toBe(1);
  });
});

describe('a suspended tenant (issue 4)', () => {
  test('gets no key, in sessions that are open and in new ones, until it is resumed', async () => {
    const state = await openWith({});
    const grant = grantOf(await withTenant(state), 4);
    const suspend = (suspended: string | undefined) =>
      state.tenants.change('acme', 'suspend_tenant', (tenant) => ({ ...tenant, suspended }), call);
    const { keyId } = await state.keys.allocate(grant, requestId(), newKey);
    const acquire = () =>
      refusalOf(
        state.keys.acquire(grant, requestId(), {
          keyId,
          svn: undefined,
          epoch: undefined,
          reason: 'boot',
        }),
      );
    expect(await acquire()).toBe('accepted');
    await suspend('unpaid');
    expect(await acquire()).toBe('TENANT_SUSPENDED');
    await suspend(undefined);
    expect(await acquire()).toBe('accepted');
  });
});
