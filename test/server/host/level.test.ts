import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Database } from '#server/host/level.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const value = (n: number) => new Uint8Array([n]);

async function fresh(): Promise<{ path: string; database: Database }> {
  const path = join(temporaryFolder('level'), 'db');
  await Database.create(path, 'test');
  return { path, database: await Database.open(path, 'test') };
}

describe('database: one LevelDB, group commit (architecture.md s.5)', () => {
  test('what was written is there after a close and an open', async () => {
    const { path, database } = await fresh();
    await database.write([
      { key: 'a!1', value: value(1) },
      { key: 'a!2', value: value(2) },
    ]);
    await database.write([{ key: 'a!1' }]);
    await database.close();
    const again = await Database.open(path, 'test');
    expect(await again.get('a!1')).toBeUndefined();
    expect(await again.get('a!2')).toEqual(Buffer.from([2]));
    await again.close();
  });

  test('many writes at once become durable in the order of their calls', async () => {
    const { database } = await fresh();
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 500 }, (_, i) =>
        database.write([{ key: 'k', value: value(i & 255) }]).then(() => order.push(i)),
      ),
    );
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(await database.get('k')).toEqual(Buffer.from([499 & 255]));
    await database.close();
  });

  test('a list has its prefix, its bounds, its direction and its limit', async () => {
    const { database } = await fresh();
    const keys = ['a!1', 'a!2', 'a!3', 'b!1'];
    await database.write(keys.map((key, i) => ({ key, value: value(i) })));
    const list = async (range: Parameters<Database['list']>[0]) =>
      (await database.list(range)).map(([key]) => key);
    expect(await list({ prefix: 'a!' })).toEqual(['a!1', 'a!2', 'a!3']);
    expect(await list({ prefix: 'a!', after: 'a!1' })).toEqual(['a!2', 'a!3']);
    expect(await list({ prefix: 'a!', reverse: true, limit: 2 })).toEqual(['a!3', 'a!2']);
    expect(await list({ prefix: 'a!', after: 'a!2', reverse: true })).toEqual(['a!1']);
    expect(await list({ prefix: '' })).toHaveLength(5);
    await database.close();
  });

  test('opening never creates; creating never overwrites', async () => {
    const { path, database } = await fresh();
    await database.close();
    expect(await refusalOf(Database.open(`${path}-missing`, 'test'))).toBe('STORE_MISSING');
    expect(readdirSync(join(path, '..'))).toEqual(['db']);
    expect(await refusalOf(Database.create(path, 'test'))).toBe('ALREADY_EXISTS');
  });

  test('a database of another kind, or one that lost its files, is refused', async () => {
    const { path, database } = await fresh();
    await database.close();
    expect(await refusalOf(Database.open(path, 'other'))).toBe('STORE_CORRUPT');
    rmSync(join(path, 'CURRENT'));
    expect(await refusalOf(Database.open(path, 'test'))).toBe('STORE_CORRUPT');
  });

  test('it is open once: a second open in this process is refused and keeps the lock', async () => {
    const { path, database } = await fresh();
    expect(await refusalOf(Database.open(path, 'test'))).toBe('STORE_LOCKED');
    const other = spawnSync(
      process.execPath,
      [
        '-e',
        `new (require('level').Level)(${JSON.stringify(path)}).open().catch(() => process.exit(7))`,
      ],
      { cwd: import.meta.dirname },
    );
    expect(other.status).toBe(7);
    await database.close();
  });

  test('after a close nothing is written or read', async () => {
    const { database } = await fresh();
    const last = database.write([{ key: 'k', value: value(1) }]);
    await database.close();
    await last;
    expect(await refusalOf(database.write([]))).toBe('SHUTTING_DOWN');
    expect(await refusalOf(database.get('k'))).toBe('SHUTTING_DOWN');
  });
});
