import { beforeAll, describe, expect, it } from 'vitest';
import { FaultyStore } from '../../../fakes/faulty-store.js';
import { refusalOf } from '../../../refusal.js';
import { canary } from '../../../run-folder.js';
import { MemoryPlace } from '../memory-place.js';
import { grantOf, newKey, requestId, withTenant } from '../state.js';
import { destructionOrder, orderOn } from './orders.js';

const delaySeconds = 60;
let ready: MemoryPlace;
let keyId: Uint8Array;

/** A key whose destruction is ordered, and due. */
beforeAll(async () => {
  ready = await MemoryPlace.make();
  const state = await ready.open();
  const policy = await withTenant(state, 'acme', { destroyDelaySeconds: delaySeconds });
  const key = await state.keys.allocate(grantOf(policy, 4), requestId(), newKey);
  ({ keyId } = key);
  canary(key.securityKey);
  await state.keyAdmin.destroy('acme', await destructionOrder(keyId, 1), orderOn(keyId).call);
  await state.close();
  ready.now += delaySeconds * 1000;
});

const records = ({ records }: MemoryPlace, prefix: string) =>
  [...records.keys()].filter((key) => key.startsWith(prefix));

describe('a destruction that is due (protocol.md s.6.5, s.6.9)', () => {
  it('is executed at the start, by nobody asking', async () => {
    const place = ready.copy();
    const state = await place.open();
    await expect.poll(async () => (await state.keys.get('acme', keyId)).state).toBe('destroyed');
    await state.close();
  });

  it.each(['fails before', 'fails after'] as const)(
    'is executed once, whichever commit the server %s',
    async (fault) => {
      for (let at = 1; at <= 3; at++) {
        const place = ready.copy();
        const faulty = await place.open((store) => new FaultyStore(store, at, fault));
        await refusalOf(faulty.keyAdmin.runDue());
        await faulty.close();
        const state = await place.open();
        await state.keyAdmin.runDue();
        expect(await state.keys.get('acme', keyId)).toMatchObject({ state: 'destroyed' });
        const { items } = await state.audit.list('acme', { pageSize: 50, pageToken: '' });
        const done = items.filter(({ operation }) => operation === 'key_destroy');
        expect(done.filter(({ code }) => code === undefined)).toHaveLength(1);
        await state.close();
        // Nothing is left to do, and no erase key that a root key of it hangs on.
        expect(records(place, 'agenda/')).toEqual([]);
        expect(records(place, 'erasing/')).toEqual([]);
      }
    },
  );

  it.each(['due first', 'taken back first'])(
    'taken back at the very moment, it is one or the other: %s',
    async (order) => {
      for (let turns = 0; turns < 12; turns++) {
        const place = ready.copy();
        const state = await place.open();
        const cancel = () => refusalOf(state.keyAdmin.cancelDestroy(orderOn(keyId)));
        const runDue = () => state.keyAdmin.runDue();
        const soon = async <T>(work: () => Promise<T>) => {
          for (let i = 0; i < turns; i++) await Promise.resolve();
          return work();
        };
        const [answer] =
          order === 'due first'
            ? (await Promise.all([runDue(), soon(cancel)])).reverse()
            : await Promise.all([cancel(), soon(runDue)]);
        await state.keyAdmin.runDue();
        const { state: now } = await state.keys.get('acme', keyId);
        expect([now, answer]).toEqual(
          now === 'destroyed' ? ['destroyed', 'KEY_DESTROYED'] : ['pre-active', 'accepted'],
        );
        await state.close();
        expect(records(place, 'agenda/')).toEqual([]);
      }
    },
  );

  it('a copy of the store from before it does not bring the key back, with the vault of now', async () => {
    const before = ready.copy();
    const state = await before.open();
    await state.keyAdmin.runDue();
    await state.close();
    const restored = ready.copy().withVaultOf(before);
    // As if the order had not been given: the record is there, its root key is not.
    restored.now -= delaySeconds * 1000;
    const again = await restored.open();
    await again.keyAdmin.cancelDestroy(orderOn(keyId));
    const policy = await again.policies.get('acme', 'web', 0);
    const ask = { keyId, svn: undefined, reason: 'boot' } as const;
    const acquired = again.keys.acquire(grantOf(policy, 4), requestId(), ask);
    expect(await refusalOf(acquired)).toBe('KEY_DESTROYED');
    await again.close();
  });
});
