import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import type { AuditLog, KeyServerState } from '#server/key-server/release/contract.js';
import { refusalOf } from '../../../refusal.js';
import {
  grantOf,
  newKey,
  newPlace,
  nextPolicy,
  openPlace,
  type Place,
  requestId,
  withTenant,
} from '../state.js';

async function everything(
  audit: Pick<AuditLog, 'list'>,
  tenantId: string,
  pageSize: number,
  refusedOnly = false,
) {
  const entries = [];
  let pageToken = '';
  do {
    const page = await audit.list(tenantId, { pageSize, pageToken }, { refusedOnly });
    expect(page.items.length).toBeLessThanOrEqual(pageSize);
    entries.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return entries;
}

describe('every decision is recorded before it is answered (protocol.md s.6.5, I5)', () => {
  let place: Place;
  let state: KeyServerState;

  beforeEach(async () => {
    place = await newPlace('audit');
    state = await openPlace(place);
  });

  afterEach(() => state.close());

  it('grants and refusals alike, with what they were decided on', async () => {
    const policy = await withTenant(state);
    const grant = grantOf(policy, 2);
    const { keyId, kcv } = await state.keys.allocate(grant, requestId(), newKey);
    await state.keys.confirm(grant, requestId(), { keyId, svn: 1, kcv });
    const id = requestId();
    const ask = { keyId, svn: 4, reason: 'rekey' } as const;
    expect(await refusalOf(state.keys.acquire(grant, id, ask))).toBe('SVN_ABOVE_LEVEL');
    await nextPolicy(state);
    const entries = await everything(state.audit, 'acme', 100);
    expect(entries.map(({ operation, code }) => `${operation} ${code ?? 'granted'}`)).toEqual([
      'set_key_policy granted',
      'key_acquire SVN_ABOVE_LEVEL',
      'key_confirm granted',
      'key_alloc granted',
      'set_key_policy granted',
      'register_tenant granted',
    ]);
    expect(entries[1]).toMatchObject({
      tenantId: 'acme',
      cvmName: 'web-1',
      keyId,
      svn: 4,
      level: 2,
      requestId: toHex(id),
      evidenceDigest: grant.evidenceDigest,
      policyDigest: policy.digest,
      time: place.now,
      reason: 'rekey',
    });
    expect(entries[3]).toMatchObject({ keyId, svn: 1 });
  });

  it('the refusal of a session is recorded with all failed checks', async () => {
    await withTenant(state);
    const failedChecks = [
      { code: 'POLICY_MEASUREMENT', message: 'not listed' },
      { code: 'POLICY_VMPL', message: 'VMPL 1' },
    ] as const;
    await state.audit.record({
      operation: 'attest',
      tenantId: 'acme',
      code: 'POLICY_MEASUREMENT',
      failedChecks,
      requestId: 'r1',
    });
    const [entry] = await everything(state.audit, 'acme', 10);
    expect(entry).toMatchObject({ operation: 'attest', failedChecks, requestId: 'r1' });
  });

  it('a dry run is no decision', async () => {
    const { signed } = await withTenant(state);
    const before = await everything(state.audit, 'acme', 100);
    await state.policies.set('acme', signed, { requestId: 'x' }, { dryRun: true });
    expect(await everything(state.audit, 'acme', 100)).toEqual(before);
  });

  it('each tenant sees its own, newest first, in pages of any size, after a restart too', async () => {
    const policies = [await withTenant(state, 'acme'), await withTenant(state, 'bolt')];
    await Promise.all(
      policies.flatMap((policy, i) =>
        Array.from({ length: 20 + i }, (_, n) => {
          const ask = { ...newKey, svn: n % 3 === 0 ? 4 : 1 };
          return refusalOf(state.keys.allocate(grantOf(policy, 2), requestId(), ask));
        }),
      ),
    );
    await state.close();
    state = await openPlace(place);
    for (const [tenantId, count] of [['acme', 22] as const, ['bolt', 23] as const]) {
      const all = await everything(state.audit, tenantId, 1000);
      expect(all).toHaveLength(count);
      const indexes = all.map(({ index }) => index);
      expect(indexes).toEqual([...indexes].sort((a, b) => b - a));
      expect(all.every((entry) => entry.tenantId === tenantId)).toBe(true);
      for (const size of [1, 7]) {
        expect(await everything(state.audit, tenantId, size)).toEqual(all);
      }
      const refused = all.filter(({ code }) => code !== undefined);
      expect(refused).toHaveLength(7);
      expect(await everything(state.audit, tenantId, 3, true)).toEqual(refused);
    }
    expect(await everything(state.audit, 'cord', 5)).toEqual([]);
  });

  it('a page token that is not ours is refused', async () => {
    const list = state.audit.list('acme', { pageSize: 5, pageToken: 'eA' });
    expect(await refusalOf(list)).toBe('INVALID_FIELD');
  });
});
