import { Level } from 'level';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkStore } from '#server/key-server/upkeep/check.js';
import { withStoreAtRest } from '#server/key-server/upkeep/open.js';
import type { World } from '../../../faults/operations.js';
import { copyOf, makeWorld } from '../../../faults/world.js';
import { refusalOf } from '../../../refusal.js';
import { openPlace, optionsOf, type Place } from '../state.js';

type Db = Level<string, Uint8Array>;

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});

async function edited(body: (db: Db) => Promise<unknown>): Promise<Place> {
  const place = copyOf(world);
  const options = { compression: false, valueEncoding: 'view' } as const;
  const db: Db = new Level(place.folder, options);
  await db.open();
  await body(db);
  await db.close();
  return place;
}

const reportOf = (place: Place) =>
  withStoreAtRest(place.folder, optionsOf(place), (opened) => checkStore(opened));

/** The first key with a prefix. */
async function firstOf(db: Db, prefix: string): Promise<string> {
  const [key] = await db.keys({ gte: prefix, lt: `${prefix}\x7f`, limit: 1 }).all();
  if (key === undefined) throw new Error(`there is no ${prefix}`);
  return key;
}

const removed = (prefix: string) => async (db: Db) => db.del(await firstOf(db, prefix));

describe('store check', () => {
  it('finds nothing wrong with a store as it was written, and counts what is there', async () => {
    const report = await reportOf(copyOf(world));
    expect(report.problems).toEqual([]);
    expect(report.records.get('tenant')).toBe(2);
    expect(report.records.get('key')).toBe(4);
    expect(report.logSize).toBeGreaterThan(10);
  });

  it.each<[string, (db: Db) => Promise<unknown>, RegExp]>([
    ['a key', removed('key/'), /policy-keys.* says \d keys of floor \d; \d are there/],
    ['the counts of keys', removed('policy-keys/'), /policy-keys\/acme\/web is missing/],
    ['a name of the log', removed('audit-of/acme/'), /audit-of\/acme\/.* is missing/],
    [
      'a name of refusals that leads nowhere',
      (db) => db.put('audit-refused/acme/0000000000ff', version(1)),
      /audit\/0000000000ff is missing/,
    ],
    ['when a request is forgotten', removed('request-until/'), /1 requests are never forgotten/],
    ['a request', removed('request/'), /request\/.* is missing/],
    ['a record of no kind', (db) => db.put('other/1', version(1)), /is of no known kind/],
    [
      'a key moved to another tenant',
      async (db) => {
        const key = await firstOf(db, 'key/acme/');
        await db.put(key.replace('acme', 'bolt'), (await db.get(key))!);
      },
      /key\/bolt\/.* STORE_CORRUPT/,
    ],
  ])('notices that it lacks, or has wrongly: %s', async (_, body, expected) => {
    const { problems, problemCount } = await reportOf(await edited(body));
    expect(problemCount).toBeGreaterThan(0);
    expect(problems.map(({ key, what }) => `${key} ${what}`).join('\n')).toMatch(expected);
  });

  it('is refused while a server has the store', async () => {
    const place = copyOf(world);
    const state = await openPlace(place);
    expect(await refusalOf(reportOf(place))).toBe('STORE_LOCKED');
    await state.close();
  });

  it('changes nothing: the server opens it as before', async () => {
    const place = copyOf(world);
    await reportOf(place);
    const state = await openPlace(place);
    expect(state.failure()).toBeUndefined();
    await state.close();
  });
});

/** An empty record of a version. */
function version(n: number): Uint8Array {
  return Uint8Array.of(0, 0, 0, 0, 0, n);
}
