import { beforeAll, describe, expect, it } from 'vitest';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { refusalOf } from '../refusal.js';
import { newKey, openPlace, type Place, requestId } from '../server/key-server/state.js';
import { grantIn, lost, operations, problemsOf, type World } from './operations.js';
import { copyOf, makeWorld } from './world.js';

// A clock that jumps, while the server runs or between two runs.

const hour = 3_600_000;
const day = 24 * hour;

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});

async function using<T>(place: Place, body: (state: KeyServerState) => Promise<T>): Promise<T> {
  const state = await openPlace(place);
  try {
    return await body(state);
  } finally {
    await state.close();
  }
}

describe.each([
  ['back by a day', -day],
  ['back by ten years', -3650 * day],
  ['forward by a day', day],
  ['forward by ten years', 3650 * day],
])('a clock that jumps %s', (_, jump) => {
  it('while the server runs: keys are what they were, and every operation goes on', async () => {
    const place = copyOf(world);
    await using(place, async (state) => {
      world.clock.ahead = jump;
      expect(await lost(world, state)).toEqual([]);
      for (const { run } of operations) await run(state, world, requestId());
    });
    expect(await problemsOf(place)).toEqual([]);
  });

  it('between two runs: the store opens, and nothing acknowledged is lost', async () => {
    const place = copyOf(world);
    world.clock.ahead = jump;
    await using(place, async (state) => {
      expect(state.failure()).toBeUndefined();
      expect(await lost(world, state)).toEqual([]);
    });
    expect(await problemsOf(place)).toEqual([]);
  });
});

describe('what depends on time', () => {
  it('a repeated request gives the same key after the clock went back', async () => {
    await using(copyOf(world), async (state) => {
      const id = requestId();
      const first = await state.keys.allocate(await grantIn(state), id, newKey);
      world.clock.ahead = -day;
      const again = await state.keys.allocate(await grantIn(state), id, newKey);
      expect(again.keyId).toEqual(first.keyId);
    });
  });

  it('a lease that is over stays over while the clock says so, and only then', async () => {
    const place = copyOf(world);
    await using(place, async (state) => {
      const grant = { ...(await grantIn(state)), leaseExpires: place.now + hour };
      const ask = { keyId: world.active, svn: undefined, reason: 'boot' } as const;
      const acquire = () => refusalOf(state.keys.acquire(grant, requestId(), ask));
      expect(await acquire()).toBe('accepted');
      world.clock.ahead = 2 * hour;
      expect(await acquire()).toBe('REATTEST_REQUIRED');
    });
  });

  it('a destruction that was ordered is not done before its time when the clock goes back', async () => {
    await using(copyOf(world), async (state) => {
      await state.keyAdmin.destroy('acme', world.doomed.order, { requestId: 'test' });
      world.clock.ahead = -day;
      await state.keyAdmin.runDue();
      expect((await state.keys.get('acme', world.doomed.keyId)).state).toBe('destroy-pending');
    });
  });
});
