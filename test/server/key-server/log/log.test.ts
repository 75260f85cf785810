import { describe, expect, it } from 'vitest';
import { equalBytes, toHex } from '#core/bytes.js';
import { openCheckpoint } from '#core/log/checkpoint.js';
import { verifyConsistency, verifyInclusion } from '#core/log/proofs.js';
import { decodeLogRecord } from '#core/log/record.js';
import { openTenantHead } from '#core/log/tenant-head.js';
import { append, emptyFrontier, leafDigest, rootOf } from '#core/log/tree.js';
import { blockKey, openBlock } from '#server/key-server/log/blocks.js';
import { naiveRoot } from '../../../core/log/naive-tree.js';
import { MemoryStore } from '../../../fakes/memory-store.js';
import { refusalOf } from '../../../refusal.js';
import { copyOf, event, keyServer, openLog, sealerOf, write } from './harness.js';

/** Every record of the store as it is hashed, in order. */
function contents(store: MemoryStore): readonly Uint8Array[] {
  const keys = [...store.records.keys()].filter((key) => key.startsWith('audit/')).sort();
  return keys.flatMap((key) => openBlock(key, store.records.get(key)!, sealerOf(store)).bodies);
}

describe('the log of decisions (protocol.md s.6.4, s.6.5)', () => {
  it('is the Merkle tree over its records, signed for after every batch', async () => {
    const open = await openLog(new MemoryStore());
    const first = await open.log.newest();
    expect(toHex(first.root)).toBe(toHex(naiveRoot([])));
    for (const [i, count] of [1, 2, 3, 30, 7].entries()) {
      await write(open, count);
      const newest = await open.log.newest();
      expect(await openCheckpoint(newest.signed, keyServer)).toEqual(newest);
      expect(toHex(newest.root)).toBe(toHex(naiveRoot(contents(open.store))));
      expect(newest).toMatchObject({ size: contents(open.store).length, stateVersion: i + 1 });
    }
  });

  it('a batch is signed for once, and every decision of it is told so', async () => {
    const { journal } = await openLog(new MemoryStore());
    const receipts = await Promise.all([0, 1, 2].map((n) => journal.submit({ event: event(n) })));
    expect(receipts.map((receipt) => receipt?.index)).toEqual([1, 2, 3]);
    expect(new Set(receipts.map((receipt) => receipt?.checkpoint.signed)).size).toBe(1);
    expect(await journal.submit({ puts: [] })).toBeUndefined();
  });

  it("every record names its tenant's record before it, whatever others record", async () => {
    const open = await openLog(new MemoryStore());
    for (const count of [1, 4, 9]) await write(open, count);
    const again = await openLog(open.store);
    await write(again, 6);
    for (const tenantId of ['acme', 'bolt']) {
      const { items } = await again.reading.list(tenantId, { pageSize: 100, pageToken: '' });
      const own = [...items].reverse();
      expect(own.map(({ sequence }) => sequence)).toEqual(own.map((_, i) => i + 1));
      for (const [i, record] of own.entries()) {
        expect(toHex(record.previous)).toBe(toHex(own[i - 1]?.leaf ?? new Uint8Array(32)));
        expect(toHex(record.leaf)).toBe(toHex(leafDigest(record.bytes)));
        expect(decodeLogRecord(record.bytes)).toMatchObject({ tenantId, index: record.index });
      }
    }
  });

  it('is taken up where it ended, after any number of records', async () => {
    const store = new MemoryStore();
    for (const count of [1, 254, 1, 1, 255, 300, 256, 3]) {
      const open = await openLog(store);
      await write(open, count);
      const again = await openLog(copyOf(store));
      const [was, is] = [await open.log.newest(), await again.log.newest()];
      expect({ ...is, signed: was.signed, time: was.time }).toEqual(was);
    }
    const { log } = await openLog(store);
    const frontier = append(emptyFrontier, contents(store).map(leafDigest));
    expect(toHex((await log.newest()).root)).toBe(toHex(rootOf(frontier)));
  });

  it('opens by its last tile and reads nothing before it', async () => {
    const open = await openLog(new MemoryStore());
    await write(open, 2 * 256 + 10);
    const copy = copyOf(open.store);
    copy.records.delete(blockKey(1));
    copy.records.delete('log-tile/0/000000000000');
    const again = await openLog(copy);
    expect((await again.log.newest()).size).toBe(522);
    await write(again, 5);
  });

  it('proves everything it holds beyond 65536 records, from tiles of every level', async () => {
    const open = await openLog(new MemoryStore());
    const sizes: { size: number; root: Uint8Array }[] = [];
    for (const count of [300, 65_000, 300, 512]) {
      await write(open, count, sizes.at(-1)?.size ?? 0);
      sizes.push(await open.log.newest());
    }
    const again = await openLog(open.store);
    const last = sizes.at(-1)!;
    for (const first of sizes) {
      const path = await again.reading.consistency(first.size, last.size);
      expect(verifyConsistency(first, last, path)).toBe(true);
    }
    for (const index of [1, 2, 257, 40_001, 65_537, 66_111, 66_112]) {
      const tenantId = index % 2 === 1 ? 'acme' : 'bolt';
      const { record, path } = await again.reading.inclusion(tenantId, index, last.size);
      expect(verifyInclusion(record.leaf, index - 1, last.size, path, last.root)).toBe(true);
    }
    const tiles = [...open.store.records.keys()].filter((key) => key.startsWith('log-tile/'));
    expect(tiles).toHaveLength(258 + 2 + 1);
  }, 60_000);

  it.each<[string, (store: MemoryStore) => void]>([
    ['a block after the last tile is missing', (s) => void s.records.delete(blockKey(2))],
    ['the first block is missing', (s) => void s.records.delete(blockKey(1))],
    [
      'blocks are swapped',
      ({ records }) => {
        const [first, second] = [records.get(blockKey(1))!, records.get(blockKey(2))!];
        records.set(blockKey(1), second).set(blockKey(2), first);
      },
    ],
    [
      'a block is copied to the end',
      ({ records }) => void records.set(blockKey(7), records.get(blockKey(4))!),
    ],
    [
      'a byte of a record is changed',
      ({ records }) => {
        const { value, version } = records.get(blockKey(4))!;
        const bad = value.slice();
        bad[60]! ^= 1;
        records.set(blockKey(4), { value: bad, version });
      },
    ],
  ])('does not open where %s', async (_, damage) => {
    const open = await openLog(new MemoryStore());
    for (const count of [1, 2, 3]) await write(open, count);
    damage(open.store);
    expect(await refusalOf(openLog(open.store))).toBe('STORE_CORRUPT');
  });

  it('does not open where a tile or what belongs to it is missing', async () => {
    const open = await openLog(new MemoryStore());
    await write(open, 600);
    const lost = (...keys: string[]) => {
      const copy = copyOf(open.store);
      for (const key of keys) copy.records.delete(key);
      return refusalOf(openLog(copy));
    };
    expect(await lost('log-tile/0/000000000001')).toBe('STORE_CORRUPT');
    expect(await lost('log-tile/1/000000000000')).toBe('STORE_CORRUPT');
    const after = [...open.store.records.keys()].filter((key) => key >= blockKey(257));
    expect(await lost(...after.filter((key) => key.startsWith('audit/')))).toBe('STORE_CORRUPT');
  });
});

describe('what a tenant may read of the log', () => {
  it('its own records with their proofs, page by page, and no others', async () => {
    const open = await openLog(new MemoryStore());
    for (const count of [5, 1, 40, 12]) await write(open, count);
    const { size, root } = await open.log.newest();
    for (const pageSize of [1, 7, 100]) {
      const found = [];
      for (let after = 0, more = true; more; ) {
        const page = await open.reading.export('bolt', after, size, pageSize);
        found.push(...page.records);
        more = page.more;
        after = page.records.at(-1)?.record.index ?? after;
      }
      expect(found.map(({ record }) => record.sequence)).toEqual(found.map((_, i) => i + 1));
      expect(found.every(({ record }) => record.tenantId === 'bolt')).toBe(true);
      for (const { record, path } of found) {
        expect(verifyInclusion(record.leaf, record.index - 1, size, path, root)).toBe(true);
      }
      expect(found).toHaveLength(28);
    }
    expect(await refusalOf(open.reading.inclusion('acme', 2, size))).toBe('NOT_FOUND');
    expect(await refusalOf(open.reading.find('acme', 59))).toBe('NOT_FOUND');
  });

  it("the server's word on which record was the last, at any size of the log", async () => {
    const open = await openLog(new MemoryStore());
    await write(open, 5);
    await write(open, 1, 5);
    const { items } = await open.reading.list('acme', { pageSize: 9, pageToken: '' });
    for (const [size, sequence] of [
      [1, 1],
      [2, 1],
      [4, 2],
      [6, 3],
    ] as const) {
      const { signedHead } = await open.reading.export('acme', 0, size, 1);
      const head = await openTenantHead(signedHead, keyServer);
      const last = items.find((record) => record.sequence === sequence)!;
      expect(head).toMatchObject({ tenantId: 'acme', size, sequence });
      expect(equalBytes(head.leaf, last.leaf)).toBe(true);
      expect(toHex(head.root)).toBe(toHex(naiveRoot(contents(open.store).slice(0, size))));
    }
    const none = await open.reading.export('cord', 0, 6, 1);
    expect(await openTenantHead(none.signedHead, keyServer)).toMatchObject({ sequence: 0 });
  });

  it('nothing for a size that the log does not have', async () => {
    const open = await openLog(new MemoryStore());
    await write(open, 3);
    expect(await refusalOf(open.reading.export('acme', 0, 4, 9))).toBe('INVALID_FIELD');
    expect(await refusalOf(open.reading.consistency(1, 4))).toBe('INVALID_FIELD');
    expect(await refusalOf(open.reading.consistency(3, 2))).toBe('INVALID_FIELD');
  });
});
