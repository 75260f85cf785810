import { beforeAll, describe, expect, it } from 'vitest';
import { CvmpError } from '#core/errors.js';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { stateOver, vaultFolderOf } from '#server/key-server/release/open.js';
import { openLevelStore } from '#server/key-server/store/level.js';
import { openVault } from '#server/key-server/store/vault/file-vault.js';
import { type Fault, FaultyStore, faults } from '../fakes/faulty-store.js';
import { openPlace, optionsOf, type Place, requestId } from '../server/key-server/state.js';
import { lost, type Operation, operations, problemsOf, seen, type World } from './operations.js';
import { copyOf, makeWorld } from './world.js';

// Every commit of every operation, with the process ending or the disk failing before or after it is
// durable: deterministic, over the real LevelDB.

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});

/** The state over a store that fails at a commit counted from here. */
async function openFaulty(place: Place, at: number, fault: Fault) {
  const level = await openLevelStore(place.folder);
  const store = new FaultyStore(level, at, fault);
  const vault = await openVault(vaultFolderOf(place.folder));
  return { store, level, vault, state: await stateOver(store, vault, optionsOf(place)) };
}

async function using<T>(place: Place, body: (state: KeyServerState) => Promise<T>): Promise<T> {
  const state = await openPlace(place);
  try {
    return await body(state);
  } finally {
    await state.close();
  }
}

/** How many commits it makes, and what is to be seen then. */
async function undisturbed({ run }: Operation) {
  const place = copyOf(world);
  const { store, state } = await openFaulty(place, 0, 'dies before');
  await run(state, world, requestId());
  const { commits } = store;
  await state.close();
  return commits;
}

async function disturbed({ run }: Operation, at: number, fault: Fault) {
  const place = copyOf(world);
  const { store, level, vault, state } = await openFaulty(place, at, fault);
  const id = requestId();
  const answer = run(state, world, id).then(
    () => 'answered',
    (error: unknown) => {
      if (error instanceof CvmpError) return error.code;
      throw error;
    },
  );
  const end = await Promise.race([answer, store.died]);
  await level.close();
  await vault.close();
  return { place, id, end };
}

describe.each(operations)('$name: a fault at each of its commits', (operation) => {
  it.each(faults)('the process or the disk %s', async (fault) => {
    const before = await using(copyOf(world), seen);
    const commits = await undisturbed(operation);
    expect(commits).toBeGreaterThan(0);
    for (let at = 1; at <= commits; at++) {
      const { place, id, end } = await disturbed(operation, at, fault);
      // Nothing is acknowledged that may be lost.
      expect(end).toBe(fault.startsWith('dies') ? 'died' : 'STORE_WRITE');
      expect(await problemsOf(place)).toEqual([]);
      const [found, first] = await using(place, async (state) => {
        const now = await seen(state);
        expect(await lost(world, state)).toEqual([]);
        if (at === 1 && fault.endsWith('before')) expect(now).toEqual(before);
        return [now, await operation.run(state, world, id)] as const;
      });
      const [after, second] = await using(place, async (state) => {
        const now = await seen(state);
        return [now, await operation.run(state, world, id)] as const;
      });
      expect(await problemsOf(place)).toEqual([]);
      // The same request again: the same answer, and where it was durable nothing more happens.
      expect(second).toEqual(first);
      if (at === commits && fault.endsWith('after')) expect(after).toEqual(found);
    }
  });
});
