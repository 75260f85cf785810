import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Level } from 'level';
import { Journal } from '#server/key-server/store/journal.js';
import { initLevelStore, openLevelStore } from '#server/key-server/store/level.js';
import { byTurns, type Effort, timed } from './measure.js';
import type { Claim } from './report.js';

// Claim: the store reads as fast as LevelDB does, and group commit shares one sync among many.

/** Bytes of a sealed key record. */
const valueLength = 250;
const records = 1000;

export async function measureStore(folder: string, effort: Effort): Promise<Claim> {
  const value = new Uint8Array(valueLength).fill(7);
  const keyOf = (i: number) => `key/bench/${i.toString(16).padStart(32, '0')}`;
  const ownFolder = join(folder, 'own');
  await initLevelStore(
    ownFolder,
    new Uint8Array(16),
    Array.from({ length: records }, (_, i) => ({ key: keyOf(i), value, expected: 0, version: 1 })),
  );
  const store = await openLevelStore(ownFolder);
  const journal = new Journal(store, {
    record: () => ({ puts: [], first: 1, checkpoint: undefined, accept: () => undefined }),
  });
  const level = new Level<string, Uint8Array>(join(folder, 'plain'), { valueEncoding: 'view' });
  await level.open();
  for (let i = 0; i < records; i++) await level.put(keyOf(i), value);
  const file = openSync(join(folder, 'floor'), 'w');

  let made = records;
  let read = 0;
  const commit = () => {
    const put = { key: keyOf(made++), expected: 0, version: 1, seal: () => value };
    return journal.submit({ puts: [put] });
  };
  const putSync = () => level.put(keyOf(made++), value, { sync: true });
  const sync = () => {
    writeSync(file, value);
    fdatasyncSync(file);
  };
  const lanes = [1, 16, 64] as const;
  const results = await byTurns(effort, {
    ...Object.fromEntries(
      lanes.flatMap((n) => [
        [`commit ${n}`, (seconds: number) => timed(seconds, commit, n)],
        [`put ${n}`, (seconds: number) => timed(seconds, putSync, n)],
      ]),
    ),
    get: (seconds) => timed(seconds, () => store.get(keyOf(read++ % records))),
    'plain get': (seconds) => timed(seconds, () => level.get(keyOf(read++ % records))),
    fdatasync: (seconds) => timed(seconds, sync),
  });
  await journal.close();
  await level.close();
  closeSync(file);

  const of = (name: string) => results[name as keyof typeof results]!;
  const compared = (name: string, own: string, other: string) => ({
    name,
    ratio: of(own).perSecond / of(other).perSecond,
    values: {
      per_s: of(own).perSecond,
      plain_per_s: of(other).perSecond,
      cpu_us: of(own).cpuMicroseconds,
      plain_cpu_us: of(other).cpuMicroseconds,
      fdatasync_per_s: of('fdatasync').perSecond,
    },
  });
  return {
    title: `Store, ${valueLength} bytes a record`,
    ratioOf: 'throughput, of plain level: get, and put with sync',
    figures: [
      compared('get', 'get', 'plain get'),
      ...lanes.map((n) => compared(`commit, ${n} in flight`, `commit ${n}`, `put ${n}`)),
    ],
  };
}
