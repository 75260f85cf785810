import { describe, expect, it } from 'vitest';
import type { Change, Put, Range, Store } from '#server/key-server/store/store.js';
import { refusalOf } from '../refusal.js';

const value = (n: number) => new Uint8Array([n]);
const put = (key: string, n: number, expected = 0, version = expected + 1): Put => ({
  key,
  value: value(n),
  expected,
  version,
});

/** A store under test. `reopen` gives what another process would find; undefined: cannot. */
export interface StoreUnderTest {
  readonly store: Store;
  readonly reopen?: () => Promise<Store>;
}

/** What every store does (server/key-server/store/store.ts). */
export function storeContract(name: string, make: () => Promise<StoreUnderTest>): void {
  const using = async (body: (store: Store) => Promise<void>) => {
    const { store } = await make();
    try {
      await body(store);
    } finally {
      await store.close();
    }
  };

  describe(`${name}: a store`, () => {
    it('has an id of 16 bytes', () =>
      using(async (store) => {
        expect(store.id).toHaveLength(16);
      }));

    it('gives what was put, with its version, and nothing where there is nothing', () =>
      using(async (store) => {
        await store.commit({ puts: [put('a', 1)] });
        expect(await bytesOf(store, 'a')).toEqual([1, 1]);
        await store.commit({ puts: [put('a', 2, 1, 7)] });
        expect(await bytesOf(store, 'a')).toEqual([2, 7]);
        expect(await store.get('b')).toBeUndefined();
      }));

    it('keeps an empty value and a version of 48 bits', () =>
      using(async (store) => {
        const version = 2 ** 48 - 1;
        await store.commit({ puts: [{ key: 'a', value: new Uint8Array(), expected: 0, version }] });
        const stored = await store.get('a');
        expect(stored?.value).toHaveLength(0);
        expect(stored?.version).toBe(version);
      }));

    it('a deleted key is gone and begins again', () =>
      using(async (store) => {
        await store.commit({ puts: [put('a', 1)] });
        await store.commit({ deletes: [{ key: 'a', expected: 1 }] });
        expect(await store.get('a')).toBeUndefined();
        await store.commit({ puts: [put('a', 3)] });
        expect(await bytesOf(store, 'a')).toEqual([3, 1]);
      }));

    it('a snapshot stays as it was, whatever is committed after it', () =>
      using(async (store) => {
        await store.commit({ puts: [put('a', 1), put('b', 1)] });
        const snapshot = store.snapshot();
        await store.commit({
          puts: [put('a', 2, 1), put('c', 1)],
          deletes: [{ key: 'b', expected: 1 }],
        });
        const all = await snapshot.list({ prefix: '', limit: 1000 });
        const own = all.filter(({ key }) => key.length === 1);
        expect(own.map(({ key, version }) => `${key} ${version}`)).toEqual(['a 1', 'b 1']);
        await snapshot.close();
        expect(await bytesOf(store, 'a')).toEqual([2, 2]);
      }));

    compareAndSwap(using);
    lists(using);
    closing(make);
  });
}

type Using = (body: (store: Store) => Promise<void>) => Promise<void>;

async function bytesOf(store: Store, key: string): Promise<readonly number[]> {
  const stored = await store.get(key);
  return stored === undefined ? [] : [...stored.value, stored.version];
}

function compareAndSwap(using: Using): void {
  it.each<[string, Change]>([
    ['a put of a key that must not be there', { puts: [put('n', 1), put('a', 9, 0, 3)] }],
    ['a put with an older version', { puts: [put('n', 1), put('a', 9, 1)] }],
    ['a put of a key that must be there', { puts: [put('n', 1), put('b', 9, 1)] }],
    [
      'a delete with another version',
      { puts: [put('n', 1)], deletes: [{ key: 'a', expected: 1 }] },
    ],
    ['a delete of nothing', { puts: [put('n', 1)], deletes: [{ key: 'b', expected: 1 }] }],
    ['an expectation', { puts: [put('n', 1)], unchanged: [{ key: 'a', expected: 1 }] }],
    ['an expected absence', { puts: [put('n', 1)], unchanged: [{ key: 'a', expected: 0 }] }],
  ])('all or nothing: %s that does not hold', (_, change) =>
    using(async (store) => {
      await store.commit({ puts: [put('a', 1)] });
      await store.commit({ puts: [put('a', 2, 1)] });
      expect(await refusalOf(store.commit(change))).toBe('CAS_MISMATCH');
      expect(await store.get('n')).toBeUndefined();
      expect(await bytesOf(store, 'a')).toEqual([2, 2]);
    }),
  );

  it('expectations that hold let the rest happen', () =>
    using(async (store) => {
      await store.commit({ puts: [put('a', 1)] });
      const unchanged = [
        { key: 'a', expected: 1 },
        { key: 'b', expected: 0 },
      ];
      await store.commit({ puts: [put('n', 1)], unchanged });
      await store.commit({ unchanged });
      expect(await bytesOf(store, 'n')).toEqual([1, 1]);
    }));

  it('commits take effect in the order of their calls', () =>
    using(async (store) => {
      const all = Array.from({ length: 50 }, (_, i) => store.commit({ puts: [put('a', i, i)] }));
      await Promise.all(all);
      expect(await bytesOf(store, 'a')).toEqual([49, 50]);
    }));

  it('of many that expect the same version one succeeds', () =>
    using(async (store) => {
      const all = Array.from({ length: 20 }, (_, i) =>
        refusalOf(store.commit({ puts: [put('a', i)] })),
      );
      const codes = await Promise.all(all);
      expect(codes.filter((code) => code === 'accepted')).toHaveLength(1);
      expect(codes.filter((code) => code === 'CAS_MISMATCH')).toHaveLength(19);
    }));
}

function lists(using: Using): void {
  it.each<[string, Range, string]>([
    ['in bytewise order', { prefix: 'k/', limit: 1000 }, 'k/1 k/10 k/2 k/a'],
    ['reversed', { prefix: 'k/', limit: 1000, reverse: true }, 'k/a k/2 k/10 k/1'],
    ['at most so many', { prefix: 'k/', limit: 2 }, 'k/1 k/10'],
    ['after a key', { prefix: 'k/', after: 'k/10', limit: 10 }, 'k/2 k/a'],
    ['after a key that is not there', { prefix: 'k/', after: 'k/11', limit: 10 }, 'k/2 k/a'],
    ['before a key', { prefix: 'k/', after: 'k/2', reverse: true, limit: 10 }, 'k/10 k/1'],
    ['of nothing', { prefix: 'q/', limit: 10 }, ''],
  ])('lists keys with a prefix: %s', (_, range, expected) =>
    using(async (store) => {
      const keys = ['j/9', 'k/1', 'k/2', 'k/10', 'k/a', 'k0', 'l/1'];
      await store.commit({ puts: keys.map((key, i) => put(key, i)) });
      const entries = await store.list(range);
      expect(entries.map(({ key }) => key).join(' ')).toBe(expected);
      for (const { key, value: bytes, version } of entries) {
        expect([...bytes, version]).toEqual([keys.indexOf(key), 1]);
      }
    }),
  );
}

function closing(make: () => Promise<StoreUnderTest>): void {
  it('waits at close for what was submitted, and refuses what comes later', async () => {
    const { store, reopen } = await make();
    const submitted = store.commit({ puts: [put('a', 1)] });
    await store.close();
    expect(await refusalOf(submitted)).toBe('accepted');
    expect(await refusalOf(store.commit({ puts: [put('b', 1)] }))).toBe('SHUTTING_DOWN');
    if (reopen === undefined) return;
    const again = await reopen();
    expect(again.id).toEqual(store.id);
    expect(await bytesOf(again, 'a')).toEqual([1, 1]);
    expect(await again.get('b')).toBeUndefined();
    await again.close();
  });
}
