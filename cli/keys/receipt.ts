import { fromBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { toHex } from '#core/bytes.js';
import type { EcPublicKey } from '#core/cose/key.js';
import { openSign1 } from '#core/cose/sign1.js';
import { CvmpError } from '#core/errors.js';
import {
  type DestroyedKey,
  type DestructionReceipt,
  DestructionReceiptSchema,
} from '#gen/cvmp/v1/key_admin_pb.js';
import { destructionReceiptType } from '#wire/key-orders.js';
import { timeText } from '../cvm/cvm-text.js';
import { fields } from '../terminal/output.js';

/**
 * A receipt, read from what the Key Server signed.
 * @throws CvmpError SIGNATURE_INVALID, MALFORMED
 */
export async function openReceipt(
  signed: Uint8Array,
  identityKey: EcPublicKey,
): Promise<DestructionReceipt> {
  const { payload } = await openSign1(signed, identityKey, { typ: destructionReceiptType });
  try {
    return fromBinary(DestructionReceiptSchema, payload);
  } catch (cause) {
    throw new CvmpError('MALFORMED', 'the receipt holds no DestructionReceipt', { cause });
  }
}

/** What it says, and what it does not. */
export function receiptText(receipt: DestructionReceipt): string {
  const parts = receipt.keys.map((key) => fields(keyLines(key, receipt)));
  const signed = `signed ${timeText(receipt.time)} by the Key Server of tenant ${receipt.tenantId}`;
  return [signed, ...parts].join('\n\n');
}

function keyLines(key: DestroyedKey, receipt: DestructionReceipt): [string, string][] {
  const epochs = key.epochs === 1 ? 'its root key' : `its root keys of epochs 1 to ${key.epochs}`;
  return [
    ['KeyID', toHex(key.keyId)],
    ['destroyed', `${timeText(key.destroyed)}, ${epochs}`],
    ['ordered', `${timeText(key.ordered)}, order ${toHex(key.orderDigest)}`],
    ['allocated', timeText(key.created)],
    ['last released', timeText(key.released)],
    ['exported', receipt.exported ? 'yes: copies outside of the Key Server may exist' : 'no'],
    ['vault copies', copiesText(key, receipt)],
  ];
}

function copiesText({ created }: DestroyedKey, { vaultLastCopied }: DestructionReceipt): string {
  if (vaultLastCopied === undefined) return 'none was ever made';
  const last = `the last one was made ${timeText(vaultLastCopied)}`;
  const older = created !== undefined && timestampMs(vaultLastCopied) < timestampMs(created);
  return older
    ? `${last}, before this key`
    : `${last}; destroy those made while the key existed: they still hold its erase key`;
}
