import {
  chmodSync,
  chownSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { openPlace, type Place } from '../server/key-server/state.js';
import { lost, seen, type World } from './operations.js';
import { copyOf, makeWorld } from './world.js';

// Files of the store damaged while no server runs. Either all that was acknowledged is served, or
// the server refuses to start, with a code whose text says what to do.

let world: World;
let asItWas: unknown;
beforeAll(async () => {
  world = await makeWorld();
  asItWas = await served(copyOf(world));
});

async function served(place: Place): Promise<unknown> {
  const state = await openPlace(place);
  try {
    const failure = state.failure();
    if (failure !== undefined) throw failure;
    const wrong = await lost(world, state);
    const isRefused = wrong.length > 0 && wrong.every((each) => each.endsWith(': STORE_CORRUPT'));
    if (isRefused) throw new CvmpError('STORE_CORRUPT', 'keys are refused as damaged');
    expect(wrong).toEqual([]);
    return await seen(state);
  } finally {
    await state.close();
  }
}

/** The code of a refusal to start, or to read; "all of it" where everything is there. */
async function outcome(place: Place): Promise<string> {
  try {
    const found = await served(place);
    return JSON.stringify(found) === JSON.stringify(asItWas) ? 'all of it' : 'something else';
  } catch (error) {
    if (error instanceof CvmpError) return error.code;
    throw error;
  }
}

/** Every file that a store consists of, by its path from the folder that holds it. */
function filesOf({ folder }: Place): readonly string[] {
  const parent = dirname(folder);
  return readdirSync(parent, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(parent.length + 1))
    .sort();
}

/** A generator of numbers below 1 that is the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Codes that say what to do, each for its kind of damage. */
const refusals = ['STORE_CORRUPT', 'STORE_BEHIND', 'RESTORED_READ_ONLY', 'CONFIG'];
const accepted = new Set(['all of it', ...refusals]);

/** With table files, which a store has only after it was opened once more. */
async function withTables(): Promise<Place> {
  const place = copyOf(world);
  await (await openPlace(place)).close();
  return place;
}

describe('bits that flip', () => {
  it.each([
    ['a store just written', async () => copyOf(world)],
    ['a store with tables', withTables],
  ])('%s: in any file and region', async (_, make) => {
    const random = seeded(20261122);
    const original = await make();
    const codes = new Map<string, Set<string>>();
    for (const file of filesOf(original)) {
      const content = readFileSync(join(dirname(original.folder), file));
      const samples = Math.min(content.length, /\.(log|ldb)$/.test(file) ? 24 : 10);
      for (let i = 0; i < samples; i++) {
        const place = copyOf({ ...world, place: original });
        const damaged = Buffer.from(content);
        const at = Math.floor(((i + random()) * content.length) / samples);
        damaged[at]! ^= 1 << Math.floor(random() * 8);
        writeFileSync(join(dirname(place.folder), file), damaged);
        const code = await outcome(place);
        const kind = basename(file).replace(/\d+/g, 'N');
        codes.set(kind, (codes.get(kind) ?? new Set()).add(code));
        if (!accepted.has(code)) throw new Error(`${file} with byte ${at} flipped: ${code}`);
        rmSync(dirname(place.folder), { recursive: true });
      }
    }
    // A flip in what holds records is always noticed.
    for (const kind of ['N.log', 'N.ldb', 'MANIFEST-N', 'CURRENT', 'keks']) {
      expect([kind, ...(codes.get(kind) ?? [])]).not.toContain('all of it');
    }
  });
});

describe('files that are cut off', () => {
  it.each([
    ['a store just written', async () => copyOf(world)],
    ['a store with tables', withTables],
  ])('%s: any file at any length', async (_, make) => {
    const original = await make();
    for (const file of filesOf(original)) {
      if (/\/(LOCK|LOG(\.old)?)$/.test(file)) continue;
      const { length } = readFileSync(join(dirname(original.folder), file));
      for (const part of [0, 0.25, 0.5, 0.9, 1 - 1 / length]) {
        const shorter = Math.floor(length * part);
        if (length === 0 || shorter >= length) continue;
        const place = copyOf({ ...world, place: original });
        truncateSync(join(dirname(place.folder), file), shorter);
        const code = await outcome(place);
        const isHarmless = code === 'all of it' && /head|erase-keys$/.test(file);
        if (!isHarmless && !refusals.includes(code)) {
          throw new Error(`${file} cut to ${shorter} of ${length} bytes: ${code}`);
        }
        rmSync(dirname(place.folder), { recursive: true });
      }
    }
  });
});

describe('files that are lost', () => {
  it('any of them', async () => {
    const original = await withTables();
    for (const file of filesOf(original)) {
      const place = copyOf({ ...world, place: original });
      rmSync(join(dirname(place.folder), file));
      const code = await outcome(place);
      const isNeeded = !/\/(LOCK|LOG(\.old)?)$/.test(file);
      const wanted = isNeeded ? [...refusals, 'STORE_MISSING'] : ['all of it'];
      if (!wanted.includes(code)) throw new Error(`without ${file}: ${code}`);
    }
  });
});

describe('an owner or a mode that is wrong', () => {
  it.each([0o755, 0o770, 0o701])('mode %o of the folder', async (mode) => {
    const place = copyOf(world);
    chmodSync(place.folder, mode);
    expect(await outcome(place)).toBe('STORE_ACCESS');
    chmodSync(place.folder, 0o700);
    expect(await outcome(place)).toBe('all of it');
  });

  it.skipIf(process.geteuid?.() !== 0)('a folder of another user (needs root)', async () => {
    const place = copyOf(world);
    chownSync(place.folder, 65_534, 65_534);
    expect(await outcome(place)).toBe('STORE_ACCESS');
  });
});

describe('a LOCK that was left behind', () => {
  it('is no lock: only a living process holds one', async () => {
    const place = copyOf(world);
    writeFileSync(join(place.folder, 'LOCK'), 'left by a process that is gone');
    expect(await outcome(place)).toBe('all of it');
  });
});
