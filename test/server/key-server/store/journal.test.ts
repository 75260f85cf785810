import { describe, expect, it } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { type BatchLog, Journal, StaleRead } from '#server/key-server/store/journal.js';
import type { LatePut } from '#server/key-server/store/seal.js';
import { MemoryStore } from '../../../fakes/memory-store.js';
import { refusalOf } from '../../../refusal.js';

const put = (key: string, expected: number, n = expected): LatePut => ({
  key,
  expected,
  version: expected + 1,
  seal: () => new Uint8Array([n]),
});

/** Writes the events of each batch as one record. */
class FakeLog implements BatchLog<string> {
  accepted = 0;

  record(events: readonly string[]) {
    const expected = 0;
    const seal = () => new TextEncoder().encode(events.join(' '));
    const key = `log/${this.accepted + 1}`;
    const puts = [{ key, expected, version: 1, seal }];
    const first = this.accepted + 1;
    return { puts, first, checkpoint: undefined, accept: () => void this.accepted++ };
  }
}

function fresh() {
  const store = new MemoryStore();
  const log = new FakeLog();
  return { store, log, journal: new Journal<string>(store, log) };
}

/** Holds commits back until released. */
function gate(store: MemoryStore): () => void {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  store.before = () => opened;
  return open;
}

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

describe('journal: group commit (architecture.md s.5, "Write path")', () => {
  it('what is submitted together is one durable batch with one log record', async () => {
    const { store, journal } = fresh();
    const events = ['one', 'two', 'three'];
    await Promise.all(events.map((event, i) => journal.submit({ puts: [put(`k${i}`, 0)], event })));
    expect(store.commits).toHaveLength(1);
    expect(text(store.records.get('log/1')?.value)).toBe('one two three');
    expect(store.records.size).toBe(4);
  });

  it('what comes while a batch is written waits for the next', async () => {
    const { store, journal } = fresh();
    const open = gate(store);
    const order: number[] = [];
    const submit = (i: number) =>
      journal.submit({ puts: [put('k', i)], event: `${i}` }).then(() => order.push(i));
    const first = submit(0);
    await new Promise(setImmediate);
    const rest = [submit(1), submit(2)];
    open();
    await Promise.all([first, ...rest]);
    expect(order).toEqual([0, 1, 2]);
    expect(store.commits).toHaveLength(2);
    expect(text(store.records.get('log/2')?.value)).toBe('1 2');
  });

  it('one key written many times in a batch is written once, in its last version', async () => {
    const { store, journal } = fresh();
    await Promise.all([0, 1, 2, 3].map((i) => journal.submit({ puts: [put('k', i)] })));
    expect(store.commits[0]?.puts).toEqual([
      { key: 'k', expected: 0, version: 4, value: new Uint8Array([3]) },
    ]);
    expect(await journal.get('k')).toEqual({ value: new Uint8Array([3]), version: 4 });
  });

  it('a key that comes and goes in one batch leaves nothing', async () => {
    const { store, journal } = fresh();
    await Promise.all([
      journal.submit({ puts: [put('k', 0)] }),
      journal.submit({ deletes: [{ key: 'k', expected: 1 }] }),
    ]);
    expect(store.records.size).toBe(0);
  });

  it('never gathers more than its bound', async () => {
    const { store, journal } = fresh();
    await Promise.all(
      Array.from({ length: 600 }, (_, i) => journal.submit({ puts: [put(`k${i}`, 0)] })),
    );
    expect(store.commits.map((c) => c.puts?.length)).toEqual([256, 256, 88]);
  });

  it('nothing is answered before its batch is durable', async () => {
    const { store, journal } = fresh();
    const open = gate(store);
    let answered = false;
    const done = journal.submit({ puts: [put('k', 0)] }).then(() => {
      answered = true;
    });
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    expect(answered).toBe(false);
    open();
    await done;
    expect(answered).toBe(true);
  });
});

describe('journal: decisions build on what was submitted before them', () => {
  it('a read sees what is not yet durable', async () => {
    const { store, journal } = fresh();
    const open = gate(store);
    const done = journal.submit({ puts: [put('k', 0, 5)] });
    expect(await journal.get('k')).toEqual({ value: new Uint8Array([5]), version: 1 });
    const gone = journal.submit({ deletes: [{ key: 'k', expected: 1 }] });
    expect(await journal.get('k')).toBeUndefined();
    open();
    await Promise.all([done, gone]);
    expect(await journal.get('k')).toBeUndefined();
  });

  it.each([
    ['a put', { puts: [put('k', 0)] }],
    ['a delete', { deletes: [{ key: 'k', expected: 2 }] }],
    ['an expectation', { unchanged: [{ key: 'k', expected: 0 }] }],
  ])('%s on an outdated version is stale at once', async (_, draft) => {
    const { store, journal } = fresh();
    const first = journal.submit({ puts: [put('k', 0)] });
    await expect(journal.submit(draft)).rejects.toBeInstanceOf(StaleRead);
    await first;
    expect(store.commits).toHaveLength(1);
  });

  it('says when others see a draft, before it is durable', async () => {
    const { store, journal } = fresh();
    const open = gate(store);
    let seen = false;
    const submitted = () => {
      seen = true;
    };
    const done = journal.submit({ puts: [put('k', 0)], submitted });
    expect(seen).toBe(true);
    open();
    await done;
  });

  it('what another server changed concerns its own draft alone', async () => {
    const { store, log, journal } = fresh();
    store.records.set('theirs', { value: new Uint8Array(), version: 4 });
    const results = await Promise.allSettled([
      journal.submit({ puts: [put('a', 0)], event: 'a' }),
      journal.submit({ puts: [put('theirs', 3)], event: 'b' }),
      journal.submit({ puts: [put('c', 0)], event: 'c' }),
    ]);
    expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((results[1] as PromiseRejectedResult).reason).toBeInstanceOf(StaleRead);
    expect(store.records.get('theirs')?.version).toBe(4);
    expect(text(store.records.get('log/1')?.value)).toBe('a');
    expect(text(store.records.get('log/2')?.value)).toBe('c');
    expect(log.accepted).toBe(2);
  });
});

describe('journal: fails closed', () => {
  it('after a failed write everything under way and everything later is refused', async () => {
    const { store, journal } = fresh();
    store.before = () => {
      throw new CvmpError('STORE_WRITE', 'no space');
    };
    const first = refusalOf(journal.submit({ puts: [put('k', 0)], event: 'x' }));
    await new Promise(setImmediate);
    const second = refusalOf(journal.submit({ puts: [put('j', 0)] }));
    expect(await first).toBe('STORE_WRITE');
    expect(await second).toBe('STORE_WRITE');
    store.before = () => undefined;
    expect(await refusalOf(journal.submit({ puts: [put('i', 0)] }))).toBe('STORE_WRITE');
    expect(journal.failure?.code).toBe('STORE_WRITE');
    expect(store.records.size).toBe(0);
  });

  it('any other fault of the store is taken for a failed write', async () => {
    const { store, journal } = fresh();
    store.before = () => {
      throw new RangeError('a bug');
    };
    expect(await refusalOf(journal.submit({ puts: [put('k', 0)] }))).toBe('STORE_WRITE');
  });

  it('close waits for what was submitted and refuses the rest', async () => {
    const { store, journal } = fresh();
    const submitted = journal.submit({ puts: [put('k', 0)] });
    const closed = journal.close();
    expect(await refusalOf(journal.submit({ puts: [put('j', 0)] }))).toBe('SHUTTING_DOWN');
    await Promise.all([submitted, closed]);
    expect([...store.records.keys()]).toEqual(['k']);
  });
});
