import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { crypto } from '#crypto';
import { initLevelStore, openLevelStore } from '#server/key-server/store/level.js';
import type { Put } from '#server/key-server/store/store.js';
import { storeContract } from '../../../contracts/store.js';
import { MemoryStore } from '../../../fakes/memory-store.js';
import { refusalOf } from '../../../refusal.js';
import { temporaryFolder } from '../../../run-folder.js';

async function newStore(): Promise<string> {
  const folder = join(temporaryFolder('store'), 'db');
  await initLevelStore(folder, crypto.randomBytes(16), []);
  return folder;
}

storeContract('LevelDB', async () => {
  const folder = await newStore();
  return { store: await openLevelStore(folder), reopen: () => openLevelStore(folder) };
});

storeContract('memory', async () => ({ store: new MemoryStore() }));

/** Another process that opens the store; it says `open` or the code of its refusal. */
async function otherProcess(folder: string) {
  const program = fileURLToPath(
    new URL('../../../../dist/test/server/key-server/store/writer-process.js', import.meta.url),
  );
  const child = spawn(process.execPath, [program, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, exited, line: async (): Promise<string> => String((await lines.next()).value) };
}

describe('LevelDB: made once, opened once (architecture.md s.5)', () => {
  it('opening never makes a store, and leaves nothing behind', async () => {
    const folder = join(temporaryFolder('store'), 'db');
    expect(await refusalOf(openLevelStore(folder))).toBe('STORE_MISSING');
    expect(await refusalOf(openLevelStore(folder))).toBe('STORE_MISSING');
  });

  it('init never overwrites', async () => {
    const folder = await newStore();
    const id = crypto.randomBytes(16);
    expect(await refusalOf(initLevelStore(folder, id, []))).toBe('ALREADY_EXISTS');
  });

  it.each([
    ['CURRENT', /^CURRENT$/],
    ['its manifest', /^MANIFEST-/],
  ])('a store that lost %s is not taken for an empty one', async (_, lost) => {
    const folder = await newStore();
    for (const name of readdirSync(folder).filter((file) => lost.test(file))) {
      rmSync(join(folder, name));
    }
    expect(await refusalOf(openLevelStore(folder))).toBe('STORE_CORRUPT');
  });

  it('a second open in this process is refused, and another process still does not get in', async () => {
    const folder = await newStore();
    const store = await openLevelStore(folder);
    expect(await refusalOf(openLevelStore(folder))).toBe('STORE_LOCKED');
    const other = await otherProcess(folder);
    expect(await other.line()).toBe('STORE_LOCKED');
    await other.exited;
    await store.close();
    const reopened = await openLevelStore(folder);
    await reopened.close();
  });
});

describe('LevelDB: its head file (docs/decisions/0025)', () => {
  const one = (expected: number): Put => ({
    key: 'a',
    value: new Uint8Array([expected]),
    expected,
    version: expected + 1,
  });

  async function withCommits(count: number): Promise<string> {
    const folder = await newStore();
    const store = await openLevelStore(folder);
    for (let i = 0; i < count; i++) await store.commit({ puts: [one(i)] });
    await store.close();
    return folder;
  }

  it('an older copy of the store is refused', async () => {
    const folder = await withCommits(1);
    cpSync(folder, `${folder}.old`, { recursive: true });
    const store = await openLevelStore(folder);
    await store.commit({ puts: [one(1)] });
    await store.close();
    rmSync(folder, { recursive: true });
    renameSync(`${folder}.old`, folder);
    expect(await refusalOf(openLevelStore(folder))).toBe('STORE_BEHIND');
    const looked = await openLevelStore(folder, { isHeadIgnored: true });
    expect(looked.anchored).toBe(false);
    await looked.close();
  });

  it('a store newer than its head file is served: the file is written after the commit', async () => {
    const folder = await withCommits(1);
    cpSync(`${folder}.head`, `${folder}.head.old`);
    const store = await openLevelStore(folder);
    for (const i of [1, 2]) await store.commit({ puts: [one(i)] });
    await store.close();
    renameSync(`${folder}.head.old`, `${folder}.head`);
    const again = await openLevelStore(folder);
    expect((await again.get('a'))?.version).toBe(3);
    await again.close();
  });

  it.each([
    ['lost', (head: string) => rmSync(head)],
    ['emptied', (head: string) => writeFileSync(head, '')],
    ['damaged in both places', (head: string) => writeFileSync(head, Buffer.alloc(8192, 7))],
    [
      'that of another store',
      async (head: string) => renameSync(`${await withCommits(3)}.head`, head),
    ],
  ])('where it is %s the store is read and not written, until anchored', async (_, harm) => {
    const folder = await withCommits(2);
    await harm(`${folder}.head`);
    const store = await openLevelStore(folder);
    expect(store.anchored).toBe(false);
    expect((await store.get('a'))?.version).toBe(2);
    expect(await refusalOf(store.commit({ puts: [one(2)] }))).toBe('RESTORED_READ_ONLY');
    store.anchor();
    await store.commit({ puts: [one(2)] });
    await store.close();
    const again = await openLevelStore(folder);
    expect(again.anchored).toBe(true);
    await again.close();
  });

  it('one bad bit of it is borne: the other place holds the commit before', async () => {
    for (const at of [20, 4096 + 20]) {
      const folder = await withCommits(3);
      const head = readFileSync(`${folder}.head`);
      head[at]! ^= 1;
      writeFileSync(`${folder}.head`, head);
      const store = await openLevelStore(folder);
      expect(store.anchored).toBe(true);
      await store.close();
    }
  });
});

describe('LevelDB: nothing acknowledged is lost', () => {
  it('kill -9 while writing, three times over the same store', async () => {
    const folder = await newStore();
    let acknowledged = 0;
    for (let round = 0; round < 3; round++) {
      const { child, exited, line } = await otherProcess(folder);
      expect(await line()).toBe('open');
      const until = acknowledged + 200;
      while (acknowledged < until) acknowledged = Number(await line());
      child.kill('SIGKILL');
      await exited;
      const store = await openLevelStore(folder);
      const { version = 0 } = (await store.get('counter')) ?? {};
      expect(version).toBeGreaterThanOrEqual(acknowledged);
      const last = `entry/${String(version).padStart(8, '0')}`;
      expect((await store.list({ prefix: 'entry/', reverse: true, limit: 1 }))[0]?.key).toBe(last);
      await store.close();
      acknowledged = version;
    }
  });
});
