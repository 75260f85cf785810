import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { crypto } from '#crypto';
import type { Notice } from '#server/key-server/notices.js';
import type {
  AuditOperation,
  KeyServerState,
  StoredPolicy,
} from '#server/key-server/release/contract.js';
import { refusalOf } from '../../../refusal.js';
import {
  grantOf,
  newKey,
  newPlace,
  nextPolicy,
  openPlace,
  type Place,
  requestId,
  signingKey,
  withTenant,
} from '../state.js';
import { destructionOrder, orderOn } from './orders.js';

let place: Place;
let state: KeyServerState;
let policy: StoredPolicy;
let told: string[];

beforeEach(async () => {
  place = await newPlace('key-life');
  state = await openPlace(place);
  policy = await withTenant(state, 'acme', { destroyDelaySeconds: 3600 });
  told = [];
  listen();
});

afterEach(() => state.close());

function listen(): void {
  const tell = (notice: Notice) => told.push(notice.kind);
  state.notices.register({ tenantId: 'acme', grant: grantOf(policy, 1), keys: new Set(), tell });
}

async function reopen(): Promise<void> {
  await state.close();
  state = await openPlace(place);
  policy = await state.policies.get('acme', 'web', 0);
}

const acquire = (keyId: Uint8Array, epoch?: number, svn = 1) =>
  state.keys.acquire(grantOf(policy, 4), requestId(), { keyId, svn, epoch, reason: 'boot' });

async function confirmed(keyId: Uint8Array, epoch?: number): Promise<void> {
  const { svn, kcv } = await acquire(keyId, epoch);
  await state.keys.confirm(grantOf(policy, 4), requestId(), { keyId, svn, kcv, epoch });
}

async function activeKey(): Promise<Uint8Array> {
  const { keyId } = await state.keys.allocate(grantOf(policy, 4), requestId(), newKey);
  await confirmed(keyId);
  return keyId;
}

const stateOf = async (keyId: Uint8Array) => (await state.keys.get('acme', keyId)).state;

/** Newest decision in the audit log. */
async function newest() {
  const { items } = await state.audit.list('acme', { pageSize: 1, pageToken: '' });
  const { operation, code } = items[0]!;
  return [operation, code] as const;
}

describe('suspend, resume, mark compromised (protocol.md s.6.9)', () => {
  it('a suspended key releases nothing, across a restart, until it is resumed', async () => {
    const keyId = await activeKey();
    expect(await state.keyAdmin.suspend(orderOn(keyId))).toMatchObject({ state: 'suspended' });
    expect(await newest()).toEqual(['key_suspend', undefined]);
    expect(await refusalOf(acquire(keyId))).toBe('KEY_SUSPENDED');
    await reopen();
    listen();
    expect(await refusalOf(acquire(keyId))).toBe('KEY_SUSPENDED');
    await state.keyAdmin.resume(orderOn(keyId));
    expect((await acquire(keyId)).svn).toBe(1);
    expect(told).toEqual(['key-suspended', 'key-resumed']);
  });

  it('a repeated request changes nothing more; another one with its id is refused', async () => {
    const keyId = await activeKey();
    const order = orderOn(keyId, { expectedRevision: 2 });
    expect(await state.keyAdmin.suspend(order)).toMatchObject({ revision: 3 });
    await state.keyAdmin.resume(orderOn(keyId));
    expect(await state.keyAdmin.suspend(order)).toMatchObject({ revision: 4, state: 'active' });
    const other = { ...order, keyId: await activeKey() };
    expect(await refusalOf(state.keyAdmin.suspend(other))).toBe('IDEMPOTENCY_MISMATCH');
    expect(await refusalOf(state.keyAdmin.resume(order))).toBe('IDEMPOTENCY_MISMATCH');
  });

  it('of two who saw the same revision, one is refused', async () => {
    const keyId = await activeKey();
    const seen = { expectedRevision: 2 };
    const both = [
      state.keyAdmin.suspend(orderOn(keyId, seen)),
      state.keyAdmin.markCompromised(orderOn(keyId, seen)),
    ];
    expect(await Promise.all(both.map((one) => refusalOf(one)))).toEqual([
      'accepted',
      'CAS_MISMATCH',
    ]);
    expect(await newest()).toEqual(['key_mark_compromised', 'CAS_MISMATCH']);
  });

  it('a compromised key is served with the advice to re-key and gives no new keys', async () => {
    const keyId = await activeKey();
    await state.keyAdmin.markCompromised(orderOn(keyId));
    expect(told).toEqual(['rekey-advised']);
    expect((await acquire(keyId)).rekeyAdvised).toBe(true);
    const again = state.keys.allocate(grantOf(policy, 4), requestId(), { ...newKey, keyId });
    expect(await refusalOf(again)).toBe('KEY_COMPROMISED');
    await state.keyAdmin.rotate({ ...orderOn(keyId), agentsRetireEpochs: false });
    const reallocated = await state.keys.allocate(grantOf(policy, 4), requestId(), {
      ...newKey,
      keyId,
    });
    expect(reallocated.epoch).toBe(2);
  });

  it("another tenant's key and an unknown one are the same NOT_FOUND", async () => {
    const keyId = await activeKey();
    await withTenant(state, 'bolt', { cvmNames: ['bolt-*'] });
    const foreign = state.keyAdmin.suspend(orderOn(keyId, { tenantId: 'bolt' }));
    const unknown = state.keyAdmin.suspend(orderOn(crypto.randomBytes(16)));
    expect(await refusalOf(foreign)).toBe('NOT_FOUND');
    expect(await refusalOf(unknown)).toBe('NOT_FOUND');
  });
});

describe('epochs: rotation of the root key', () => {
  const rotate = (keyId: Uint8Array, agentsRetireEpochs = false) =>
    state.keyAdmin.rotate({ ...orderOn(keyId), agentsRetireEpochs });

  it('each epoch has its own Security Keys, the same ones after a restart (I6)', async () => {
    const keyId = await activeKey();
    const first = await acquire(keyId);
    expect(await rotate(keyId)).toMatchObject({ epoch: 2, state: 'active' });
    const second = await acquire(keyId);
    expect(second).toMatchObject({ epoch: 2, rekeyAdvised: true });
    expect(toHex(second.securityKey)).not.toBe(toHex(first.securityKey));
    const old = await acquire(keyId, 1);
    expect(old).toMatchObject({ epoch: 1, rekeyAdvised: true });
    expect(toHex(old.securityKey)).toBe(toHex(first.securityKey));
    await reopen();
    expect(toHex((await acquire(keyId, 1)).securityKey)).toBe(toHex(first.securityKey));
    expect(toHex((await acquire(keyId, 2)).securityKey)).toBe(toHex(second.securityKey));
  });

  it('a check value of one epoch does not confirm another', async () => {
    const keyId = await activeKey();
    await rotate(keyId);
    const { kcv } = await acquire(keyId, 1);
    const ask = { keyId, svn: 1, kcv, epoch: 2 };
    const work = state.keys.confirm(grantOf(policy, 4), requestId(), ask);
    expect(await refusalOf(work)).toBe('KCV_MISMATCH');
    await confirmed(keyId, 2);
    const { epochs } = await state.keys.get('acme', keyId);
    expect(epochs.map(({ epoch, confirmed }) => [epoch, confirmed > 0])).toEqual([
      [1, true],
      [2, true],
    ]);
  });

  it('a repeated rotation makes one epoch', async () => {
    const keyId = await activeKey();
    const order = { ...orderOn(keyId), agentsRetireEpochs: false };
    await Promise.all([state.keyAdmin.rotate(order), state.keyAdmin.rotate(order)]);
    expect((await state.keys.get('acme', keyId)).epoch).toBe(2);
  });

  it('the tenant retires an epoch once another is confirmed; then it is gone', async () => {
    const keyId = await activeKey();
    await rotate(keyId);
    const retire = () => state.keyAdmin.retireEpochs({ ...orderOn(keyId), below: 2 });
    expect(await refusalOf(retire())).toBe('KEY_STATE');
    await confirmed(keyId, 2);
    expect((await retire()).epochs).toHaveLength(1);
    expect(await refusalOf(acquire(keyId, 1))).toBe('KEY_RETIRED');
    await reopen();
    expect(await refusalOf(acquire(keyId, 1))).toBe('KEY_RETIRED');
    expect((await acquire(keyId)).epoch).toBe(2);
  });

  it('an agent retires it only where the tenant lets agents do so', async () => {
    const ask = (keyId: Uint8Array) =>
      state.keys.update(grantOf(policy, 4), requestId(), {
        keyId,
        targetSvn: 1,
        expectedFloor: undefined,
        retireBelow: undefined,
        retireEpochsBelow: 2,
      });
    for (const allowed of [false, true]) {
      const keyId = await activeKey();
      await rotate(keyId, allowed);
      await confirmed(keyId, 2);
      expect(await ask(keyId)).toMatchObject({ changed: allowed, lowestEpoch: allowed ? 2 : 1 });
    }
  });
});

describe('destruction (protocol.md s.6.5)', () => {
  const destroy = async (keyId: Uint8Array, revision: number, changes = {}) =>
    state.keyAdmin.destroy(
      'acme',
      await destructionOrder(keyId, revision, changes),
      orderOn(keyId).call,
    );

  it('releases nothing from the order on; is executed when due, also after a restart', async () => {
    const keyId = await activeKey();
    const ordered = await destroy(keyId, 2);
    expect(ordered).toMatchObject({ state: 'destroy-pending' });
    expect(ordered.destruction?.due).toBe(place.now + 3_600_000);
    expect(await refusalOf(acquire(keyId))).toBe('KEY_DESTROY_PENDING');
    place.now += 3_599_999;
    await state.keyAdmin.runDue();
    expect(await stateOf(keyId)).toBe('destroy-pending');
    await state.close();
    place.now += 1;
    state = await openPlace(place);
    await state.keyAdmin.runDue();
    expect(await stateOf(keyId)).toBe('destroyed');
    expect(await newest()).toEqual(['key_destroy', undefined]);
    expect(await refusalOf(acquire(keyId))).toBe('KEY_DESTROYED');
    await reopen();
    expect(await state.keys.get('acme', keyId)).toMatchObject({ state: 'destroyed', epochs: [] });
    expect(told).toEqual(['key-suspended']);
  });

  it('agents are told when it is done, and the key counts no more', async () => {
    policy = await nextPolicy(state, { keyRules: { keysMax: 1 }, destroyDelaySeconds: 3600 });
    const keyId = await activeKey();
    const another = () => state.keys.allocate(grantOf(policy, 4), requestId(), newKey);
    expect(await refusalOf(another())).toBe('QUOTA');
    await destroy(keyId, 2);
    place.now += 3_600_000;
    await state.keyAdmin.runDue();
    expect(told).toEqual(['policy-changed', 'key-suspended', 'key-destroyed']);
    expect(await refusalOf(another())).toBe('accepted');
  });

  it('taken back before it is due, it is suspended; the same order is good for nothing', async () => {
    const keyId = await activeKey();
    const signed = await destructionOrder(keyId, 2);
    const { call } = orderOn(keyId);
    await state.keyAdmin.destroy('acme', signed, call);
    await state.keyAdmin.cancelDestroy(orderOn(keyId));
    expect(await stateOf(keyId)).toBe('suspended');
    // Remembered: it changes nothing more.
    expect(await state.keyAdmin.destroy('acme', signed, call)).toMatchObject({
      state: 'suspended',
    });
    // Forgotten: its revision is gone.
    place.now += 26 * 3_600_000;
    await reopen();
    const replayed = await destructionOrder(keyId, 2);
    expect(await refusalOf(state.keyAdmin.destroy('acme', replayed, call))).toBe('CAS_MISMATCH');
    await state.keyAdmin.runDue();
    expect(await stateOf(keyId)).toBe('suspended');
    await state.keyAdmin.resume(orderOn(keyId));
    expect((await acquire(keyId)).svn).toBe(1);
  });

  it('a key never in use is destroyed too, and kept it is pre-active again', async () => {
    const { keyId } = await state.keys.allocate(grantOf(policy, 4), requestId(), newKey);
    await destroy(keyId, 1);
    expect(await state.keyAdmin.cancelDestroy(orderOn(keyId))).toMatchObject({
      state: 'pre-active',
    });
  });

  it('an order may ask for more time than the policy, never for less', async () => {
    const later = place.now + 7_200_000;
    const patient = await destroy(await activeKey(), 2, { notBefore: later });
    expect(patient.destruction?.due).toBe(later);
    const hasty = await destroy(await activeKey(), 2, { notBefore: place.now });
    expect(hasty.destruction?.due).toBe(place.now + 3_600_000);
  });

  it('needs the quorum that the policy asks for, and says so in the log', async () => {
    const [bob, carol, mallory] = await Promise.all([
      crypto.generateEcKey('P-256'),
      crypto.generateEcKey('P-256'),
      crypto.generateEcKey('P-256'),
    ]);
    const signers = [bob, carol].map((key) =>
      encodeCoseKey(ecPublicKey(key.curve, key.publicPoint)),
    );
    policy = await nextPolicy(state, {
      quorums: { destroyKey: { signers, threshold: 2 } },
      destroyDelaySeconds: 60,
    });
    const keyId = await activeKey();
    for (const wrong of [[await signingKey()], [bob], [bob, mallory]]) {
      expect(await refusalOf(destroy(keyId, 2, { signers: wrong }))).toBe('QUORUM');
      expect(await newest()).toEqual(['key_order_destroy', 'QUORUM']);
    }
    expect(await stateOf(keyId)).toBe('active');
    expect((await destroy(keyId, 2, { signers: [bob, carol] })).state).toBe('destroy-pending');
  });

  it('refuses an order of another tenant, for an unknown key, by another key, of another type', async () => {
    const keyId = await activeKey();
    const mallory = await crypto.generateEcKey('P-256');
    expect(await refusalOf(destroy(keyId, 2, { tenantId: 'bolt' }))).toBe('INVALID_FIELD');
    expect(await refusalOf(destroy(crypto.randomBytes(16), 1))).toBe('NOT_FOUND');
    expect(await refusalOf(destroy(keyId, 2, { signers: [mallory] }))).toBe('SIGNATURE_INVALID');
    expect(await refusalOf(destroy(keyId, 3))).toBe('CAS_MISMATCH');
    const { call } = orderOn(keyId);
    const other = state.keyAdmin.destroy('acme', policy.signed, call);
    expect(await refusalOf(other)).toBe('MALFORMED');
  });

  it('tombstones are told of; of a living key there is none', async () => {
    const keyId = await activeKey();
    const ask = () => state.keyAdmin.tombstones('acme', [keyId]);
    expect(await refusalOf(ask())).toBe('KEY_STATE');
    await destroy(keyId, 2);
    expect(await refusalOf(ask())).toBe('KEY_STATE');
    place.now += 3_600_000;
    await state.keyAdmin.runDue();
    const [tombstone] = await ask();
    expect(tombstone).toMatchObject({ state: 'destroyed', stateSince: place.now, epoch: 1 });
    expect(await refusalOf(state.keyAdmin.tombstones('acme', [crypto.randomBytes(16)]))).toBe(
      'NOT_FOUND',
    );
  });

  it('every change is in the log under its own name', async () => {
    const keyId = await activeKey();
    await state.keyAdmin.suspend(orderOn(keyId));
    await state.keyAdmin.resume(orderOn(keyId));
    await state.keyAdmin.markCompromised(orderOn(keyId));
    await state.keyAdmin.rotate({ ...orderOn(keyId), agentsRetireEpochs: true });
    await confirmed(keyId, 2);
    await state.keyAdmin.retireEpochs({ ...orderOn(keyId), below: 2 });
    await destroy(keyId, 7);
    await state.keyAdmin.cancelDestroy(orderOn(keyId));
    const { items } = await state.audit.list('acme', { pageSize: 9, pageToken: '' });
    const expected: AuditOperation[] = [
      'key_cancel_destroy',
      'key_order_destroy',
      'key_retire_epochs',
      'key_confirm',
      'key_acquire',
      'key_rotate',
      'key_mark_compromised',
      'key_resume',
      'key_suspend',
    ];
    expect(items.map(({ operation }) => operation)).toEqual(expected);
    expect(items.map(({ epoch }) => epoch).slice(3, 6)).toEqual([2, 2, 2]);
  });
});
