import { describe, expect, it } from 'vitest';
import { crypto } from '#crypto';
import type { AuditEvent } from '#server/key-server/release/contract.js';
import { Requests, requestDigest } from '#server/key-server/release/requests.js';
import { Journal } from '#server/key-server/store/journal.js';
import { onlyKey, RecordSealer } from '#server/key-server/store/seal.js';
import { MemoryStore } from '../../../fakes/memory-store.js';
import { refusalOf } from '../../../refusal.js';

const hour = 3_600_000;
const now = 500_000 * hour + 1234;
const digest = requestDigest('key_alloc', 1);

const outcome = {
  keyId: new Uint8Array(16).fill(4),
  svn: 3,
  oldFloor: 1,
  newFloor: 3,
  svnRetired: 1,
  changed: true,
};

function fresh() {
  const store = new MemoryStore();
  const log = {
    record: () => ({ puts: [], first: 1, checkpoint: undefined, accept: () => undefined }),
  };
  const journal = new Journal<AuditEvent>(store, log);
  const sealer = new RecordSealer(
    crypto,
    onlyKey(new Uint8Array(32)),
    store.id,
    crypto.randomBytes,
  );
  const requests = new Requests(store, journal);
  const idOf = (n: number) => new Uint8Array(16).fill(n >> 8, 8).fill(n & 255, 0, 8);
  const remember = (n: number, at: number) => {
    const requestId = idOf(n);
    const puts = requests.puts('acme', requestId, { ...outcome, digest }, at, sealer);
    return journal.submit({ puts });
  };
  const find = (n: number, asked = digest) => requests.find('acme', idOf(n), asked, sealer);
  return { store, requests, remember, find };
}

describe('requests that changed something (protocol.md s.6.5)', () => {
  it('are remembered with what became of them', async () => {
    const { remember, find } = fresh();
    await remember(1, now);
    expect(await find(1)).toMatchObject(outcome);
    expect(await find(2)).toBeUndefined();
  });

  it('another request with their id is refused', async () => {
    const { remember, find } = fresh();
    await remember(1, now);
    expect(await refusalOf(find(1, requestDigest('key_alloc', 2)))).toBe('IDEMPOTENCY_MISMATCH');
  });

  it('are forgotten after 24 hours at the earliest, and not much later', async () => {
    const { store, requests, remember, find } = fresh();
    await remember(1, now);
    await requests.prune(now + 24 * hour);
    expect(await find(1)).toBeDefined();
    await requests.prune(now + 26 * hour);
    expect(await find(1)).toBeUndefined();
    expect(store.records.size).toBe(0);
  });

  it('are forgotten the oldest first, 500 at a time, the younger ones unread', async () => {
    const { store, requests, remember, find } = fresh();
    await Promise.all(Array.from({ length: 600 }, (_, i) => remember(i, now)));
    await remember(601, now + 30 * hour);
    expect(await requests.prune(now + 26 * hour)).toBe(true);
    expect(store.records.size).toBe(2 * 101);
    expect(await requests.prune(now + 26 * hour)).toBe(false);
    expect(store.records.size).toBe(2);
    expect(await find(601)).toBeDefined();
  });

  it('a digest does not depend on how the request was encoded, and tells operations apart', () => {
    expect(requestDigest('a', 1, null)).toEqual(requestDigest('a', 1, null));
    expect(requestDigest('a', 1)).not.toEqual(requestDigest('b', 1));
    expect(requestDigest('a', 1, 2)).not.toEqual(requestDigest('a', [1, 2]));
  });
});
