import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { equalBytes, toHex } from '#core/bytes.js';
import { crypto } from '#crypto';
import { AuditChain } from '#server/key-server/release/audit.js';
import { decodeAuditBody, encodeAuditBody } from '#server/key-server/release/audit-entry.js';
import type { AuditEvent, AuditLog, KeyServerState } from '#server/key-server/release/contract.js';
import { Journal } from '#server/key-server/store/journal.js';
import { onlyKey, RecordSealer } from '#server/key-server/store/seal.js';
import { MemoryStore } from '../../../fakes/memory-store.js';
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

describe('the chain of audit records', () => {
  const sealer = (store: MemoryStore) =>
    new RecordSealer(crypto, onlyKey(new Uint8Array(32)), store.id, crypto.randomBytes);
  const event = (n: number): AuditEvent => ({
    operation: 'key_acquire',
    tenantId: n % 2 === 0 ? 'acme' : 'bolt',
    requestId: `${n}`,
  });

  async function openChain(store: MemoryStore) {
    const chain = await AuditChain.open(store, { sealer: sealer(store), now: () => 5 });
    return { chain, journal: new Journal<AuditEvent>(store, chain) };
  }

  /** Blocks of one, two and three entries. */
  async function written() {
    const store = new MemoryStore();
    const { chain, journal } = await openChain(store);
    for (const batch of [[0], [1, 2], [3, 4, 5]]) {
      await Promise.all(batch.map((n) => journal.submit({ event: event(n) })));
    }
    return { store, chain };
  }

  it('hashes every entry with the digest before it', async () => {
    const { chain } = await written();
    const acme = await everything(chain, 'acme', 9);
    const bolt = await everything(chain, 'bolt', 9);
    const all = [...acme, ...bolt].sort((a, b) => a.index - b.index);
    expect(all.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5, 6]);
    for (let i = 1; i < all.length; i++) {
      const { chainDigest, index, time, ...rest } = all[i]!;
      const body = encodeAuditBody(rest, index, time);
      const digest = crypto.hash('sha256', all[i - 1]!.chainDigest, body);
      expect(equalBytes(chainDigest, digest)).toBe(true);
      expect(decodeAuditBody(body)).toMatchObject(rest);
    }
  });

  it('is taken up where it ended', async () => {
    const { store } = await written();
    const { journal } = await openChain(store);
    await journal.submit({ event: event(6) });
    expect(store.records.has('audit/000000000007')).toBe(true);
    expect(await refusalOf(openChain(store))).toBe('accepted');
  });

  it.each<[string, (store: MemoryStore) => void]>([
    ['a block is missing', (store) => void store.records.delete('audit/000000000002')],
    ['the first block is missing', (store) => void store.records.delete('audit/000000000001')],
    [
      'blocks are swapped',
      (store) => {
        const [a, b] = ['audit/000000000001', 'audit/000000000002'];
        const [first, second] = [store.records.get(a)!, store.records.get(b)!];
        store.records.set(a, second).set(b, first);
      },
    ],
    [
      'a block is copied to the end',
      (store) =>
        void store.records.set('audit/000000000007', store.records.get('audit/000000000004')!),
    ],
    [
      'a block that was sealed by us does not follow',
      (store) => {
        const key = 'audit/000000000007';
        const other = new MemoryStore().records;
        other.set(key, { value: sealer(store).seal(key, 1, new Uint8Array([0x80])), version: 1 });
        store.records.set(key, other.get(key)!);
      },
    ],
  ])('open refuses where %s', async (_, damage) => {
    const { store } = await written();
    damage(store);
    expect(await refusalOf(openChain(store))).not.toBe('accepted');
  });

  it('writes an anchor now and then, and opens by it', async () => {
    const store = new MemoryStore();
    const { journal } = await openChain(store);
    const many = (n: number) =>
      Promise.all(Array.from({ length: n }, (_, i) => journal.submit({ event: event(i) })));
    await many(9000);
    expect(store.records.has('audit-anchor')).toBe(true);
    await many(10);
    const reopened = await openChain(store);
    await reopened.journal.submit({ event: event(0) });
    for (const key of store.records.keys()) {
      if (/^audit\/0000000000[1-9]/.test(key)) store.records.delete(key);
    }
    // What lies before the anchor was verified when it was written.
    expect(await refusalOf(openChain(store))).toBe('accepted');
    for (const key of store.records.keys()) {
      if (key.startsWith('audit/00000000')) store.records.delete(key);
    }
    expect(await refusalOf(openChain(store))).toBe('STORE_CORRUPT');
  });
});
