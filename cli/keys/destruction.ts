import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { toHex } from '#core/bytes.js';
import { peekSigned, signAlso, signTogether, startTogether } from '#core/cose/quorum.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import {
  type KeyDestructionOrder,
  KeyDestructionOrderSchema,
  type KeyInfo,
} from '#gen/cvmp/v1/key_admin_pb.js';
import { destructionOrderType } from '#wire/key-orders.js';
import { timeText } from '../cvm/cvm-text.js';
import { isSigned } from '../policy/signed-policy.js';
import { fields } from '../terminal/output.js';
import { typedTime } from '../terminal/typed.js';
import { changeOf } from './key-change.js';

/** Options of an order, as typed. */
export const orderOptions = {
  'not-before': {
    type: 'string',
    value: 'TIME',
    summary: "Not due before this (RFC 3339); the policy's delay counts anyway.",
  },
  reason: { type: 'string', value: 'TEXT', summary: 'Why; kept with the order.' },
} as const;

interface OrderOptions {
  readonly 'not-before': string | undefined;
  readonly reason: string | undefined;
}

/** An order to destroy this key as it is now; nobody has signed it yet. */
export function orderOf(
  tenantId: string,
  key: KeyInfo,
  { 'not-before': typed, reason = '' }: OrderOptions,
): KeyDestructionOrder {
  const notBefore: { notBefore?: Timestamp } =
    typed === undefined ? {} : { notBefore: timestampFromMs(typedTime(typed, 'not-before')) };
  return create(KeyDestructionOrderSchema, {
    tenantId,
    reason,
    ...changeOf(key),
    ...notBefore,
  });
}

/** By the only signer. */
export function signOrder(key: EcPrivateKey, order: KeyDestructionOrder): Promise<Uint8Array> {
  return signTogether([key], destructionOrderType, bytesOf(order));
}

/** By the first of several. */
export function startOrder(key: EcPrivateKey, order: KeyDestructionOrder): Promise<Uint8Array> {
  return startTogether(key, destructionOrderType, bytesOf(order));
}

/** By one more. @throws CvmpError MALFORMED, ALREADY_EXISTS */
export function signOrderAlso(key: EcPrivateKey, signed: Uint8Array): Promise<Uint8Array> {
  return signAlso(signed, destructionOrderType, key);
}

const bytesOf = (order: KeyDestructionOrder) => toBinary(KeyDestructionOrderSchema, order);

/** A signed order in a file; its signatures are for the Key Server to judge. @throws CvmpError */
export function readOrder(signed: Uint8Array, file: string) {
  if (!isSigned(signed)) {
    throw new CvmpError('USAGE', `${file} is neither a KeyID nor a signed order`);
  }
  const { payload, signers } = peekSigned(signed, destructionOrderType);
  return { order: fromBinary(KeyDestructionOrderSchema, payload), signers };
}

/** What its signers should see. */
export function orderText(order: KeyDestructionOrder, signers: readonly Uint8Array[]): string {
  return fields([
    ['destroys', toHex(order.keyId)],
    ['of tenant', order.tenantId],
    ['at revision', String(order.expectedRevision)],
    ...(order.notBefore === undefined ? [] : [['not before', timeText(order.notBefore)] as const]),
    ...(order.reason === '' ? [] : [['reason', order.reason] as const]),
    ['signers', signers.map((kid) => toHex(kid)).join('\n')],
  ]);
}

/** Whether it was typed as a KeyID, not as a file. */
export const isKeyId = (typed: string) => /^[0-9a-fA-F]{32}$/.test(typed);
