import { create, toBinary } from '@bufbuild/protobuf';
import { signTogether } from '#core/cose/quorum.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { KeyDestructionOrderSchema } from '#gen/cvmp/v1/key_admin_pb.js';
import type { KeyOrder } from '#server/key-server/lifecycle/contract.js';
import { destructionOrderType } from '#wire/key-orders.js';
import { call, requestId, signingKey } from '../state.js';

/** A tenant's order on a key, of acme. */
export function orderOn(keyId: Uint8Array, changes: Partial<KeyOrder> = {}): KeyOrder {
  const order = { tenantId: 'acme', keyId, requestId: requestId(), call };
  return { ...order, expectedRevision: undefined, ...changes };
}

/** A signed order to destroy a key; by acme's key alone unless told. */
export async function destructionOrder(
  keyId: Uint8Array,
  expectedRevision: number,
  changes: {
    readonly tenantId?: string;
    readonly notBefore?: number;
    readonly signers?: readonly EcPrivateKey[];
  } = {},
): Promise<Uint8Array> {
  const { tenantId = 'acme', notBefore, signers = [await signingKey()] } = changes;
  const order = create(KeyDestructionOrderSchema, {
    tenantId,
    keyId,
    expectedRevision: BigInt(expectedRevision),
    requestId: requestId(),
    ...(notBefore === undefined
      ? {}
      : { notBefore: { seconds: BigInt(Math.floor(notBefore / 1000)), nanos: 0 } }),
  });
  return signTogether(signers, destructionOrderType, toBinary(KeyDestructionOrderSchema, order));
}
