import { describe, expect, it } from 'vitest';
import { openReceipt } from '#cli/keys/receipt.js';
import { ecPublicKey } from '#core/cose/key.js';
import type { GetReceiptRequest, GetReceiptResponse } from '#gen/cvmp/v1/key_admin_pb.js';
import type { CallContext } from '#server/host/handlers.js';
import { keyAdminService } from '#server/key-server/key-admin-service.js';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { FaultyStore } from '../../../fakes/faulty-store.js';
import { refusalOf } from '../../../refusal.js';
import { MemoryPlace } from '../memory-place.js';
import { grantOf, newKey, requestId, withTenant } from '../state.js';
import { destructionOrder, orderOn } from './orders.js';

/** Keys whose destruction is due. */
async function doomed(count: number) {
  const place = await MemoryPlace.make();
  const state = await place.open();
  const policy = await withTenant(state, 'acme', { destroyDelaySeconds: 1 });
  const keyIds: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const { keyId } = await state.keys.allocate(grantOf(policy, 4), requestId(), newKey);
    await state.keyAdmin.destroy('acme', await destructionOrder(keyId, 1), orderOn(keyId).call);
    keyIds.push(keyId);
  }
  await state.close();
  place.now += 1000;
  return { place, keyIds };
}

async function receiptOf(state: KeyServerState, keyIds: readonly Uint8Array[]) {
  const { methods } = keyAdminService({ ...state, now: () => 1_795_300_009_000 });
  const method = methods.find(({ method }) => method.localName === 'getReceipt');
  if (method?.kind !== 'unary') throw new TypeError('no such method');
  const context = { caller: { role: 'tenant', tenantId: 'acme' } } as unknown as CallContext;
  const request = { keyIds } as unknown as GetReceiptRequest;
  const answer = (await method.handler(request, context)) as unknown as GetReceiptResponse;
  return answer.signedReceipt;
}

const identityOf = ({ identity }: KeyServerState) =>
  ecPublicKey(identity.curve, identity.publicPoint);

describe('a receipt for destroyed keys (protocol.md s.6.3, s.6.5)', () => {
  it('proves by the log that each key is destroyed; checked without the server', async () => {
    const { place, keyIds } = await doomed(3);
    const state = await place.open();
    await state.keyAdmin.runDue();
    const signed = await receiptOf(state, keyIds);
    const receipt = await openReceipt(signed, identityOf(state));
    expect(receipt.keys.map(({ keyId }) => keyId)).toEqual(keyIds);
    expect(receipt).toMatchObject({ tenantId: 'acme', exported: false });
    expect(receipt.vaultLastCopied).toBeUndefined();
    expect(receipt.keys[0]).toMatchObject({ epochs: 1 });
    await state.close();
  });

  it('after a crash right behind the destruction its record is looked for in the log', async () => {
    const { place, keyIds } = await doomed(1);
    const faulty = await place.open((store) => new FaultyStore(store, 1, 'fails after'));
    await refusalOf(faulty.keyAdmin.runDue());
    await faulty.close();
    const state = await place.open();
    const [tombstone] = await state.keyAdmin.tombstones('acme', keyIds);
    expect(tombstone).toMatchObject({ state: 'destroyed', logIndex: undefined });
    const receipt = await openReceipt(await receiptOf(state, keyIds), identityOf(state));
    expect(receipt.keys).toHaveLength(1);
    await state.close();
  });

  it('there is none for a key that is not destroyed, nor for an unknown one', async () => {
    const { place, keyIds } = await doomed(1);
    place.now -= 1000;
    const state = await place.open();
    expect(await refusalOf(receiptOf(state, keyIds))).toBe('KEY_STATE');
    expect(await refusalOf(receiptOf(state, [new Uint8Array(16)]))).toBe('NOT_FOUND');
    await state.close();
  });
});
