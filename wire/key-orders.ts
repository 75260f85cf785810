import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { demandQuorum, peekSigned, type QuorumRule } from '#core/cose/quorum.js';
import { CvmpError } from '#core/errors.js';
import { type KeyDestructionOrder, KeyDestructionOrderSchema } from '#gen/cvmp/v1/key_admin_pb.js';
import { readMessage } from './validate.js';

/** `typ` of a signed KeyDestructionOrder. */
export const destructionOrderType = 'application/cvmp-key-destruction+protobuf';

/** `typ` of a signed DestructionReceipt. */
export const destructionReceiptType = 'application/cvmp-destruction-receipt+protobuf';

/** An order to destroy a key. */
export interface DestructionOrder {
  readonly tenantId: string;
  /** 16 bytes. */
  readonly keyId: Uint8Array;
  readonly expectedRevision: number;
  /** 16 bytes. */
  readonly requestId: Uint8Array;
  /** Milliseconds since the epoch; 0: at once, as far as the order goes. */
  readonly notBefore: number;
}

/** What to sign: {@link destructionOrderType}. */
export function encodeDestructionOrder(order: KeyDestructionOrder): Uint8Array {
  return toBinary(KeyDestructionOrderSchema, order);
}

/** The KeyID that an order names, nothing of it verified. @throws CvmpError MALFORMED */
export function peekDestructionOrder(signed: Uint8Array): Uint8Array {
  const { payload } = peekSigned(signed, destructionOrderType);
  try {
    return fromBinary(KeyDestructionOrderSchema, payload).keyId;
  } catch (cause) {
    throw new CvmpError('MALFORMED', 'the payload is no order to destroy a key', { cause });
  }
}

/**
 * Reads an order that the right people signed.
 * @throws CvmpError QUORUM, SIGNATURE_INVALID, MALFORMED, INVALID_FIELD
 */
export async function readDestructionOrder(
  signed: Uint8Array,
  rule: QuorumRule,
): Promise<DestructionOrder> {
  const { payload } = await demandQuorum(signed, destructionOrderType, rule);
  const order = readMessage(KeyDestructionOrderSchema, payload, 'order');
  const { tenantId, keyId, requestId, notBefore } = order;
  const expectedRevision = Number(order.expectedRevision);
  if (!Number.isSafeInteger(expectedRevision)) {
    const field = 'order.expected_revision';
    throw new CvmpError('INVALID_FIELD', `${field} is too high`, { field });
  }
  return {
    tenantId,
    keyId,
    expectedRevision,
    requestId,
    notBefore: notBefore === undefined ? 0 : timestampMs(notBefore),
  };
}
