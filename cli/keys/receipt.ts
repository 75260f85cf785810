import { fromBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { equalBytes, toHex } from '#core/bytes.js';
import type { EcPublicKey } from '#core/cose/key.js';
import { openSign1 } from '#core/cose/sign1.js';
import { CvmpError } from '#core/errors.js';
import { openCheckpoint, type SignedCheckpoint } from '#core/log/checkpoint.js';
import { verifyInclusion } from '#core/log/proofs.js';
import { decodeLogRecord } from '#core/log/record.js';
import { leafDigest } from '#core/log/tree.js';
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
 * @throws CvmpError SIGNATURE_INVALID, MALFORMED, LOG_INCONSISTENT
 */
export async function openReceipt(
  signed: Uint8Array,
  identityKey: EcPublicKey,
): Promise<DestructionReceipt> {
  const { payload } = await openSign1(signed, identityKey, { typ: destructionReceiptType });
  let receipt: DestructionReceipt;
  try {
    receipt = fromBinary(DestructionReceiptSchema, payload);
  } catch (cause) {
    throw new CvmpError('MALFORMED', 'the receipt holds no DestructionReceipt', { cause });
  }
  const checkpoint = await openCheckpoint(receipt.checkpoint, identityKey);
  for (const key of receipt.keys) demandRecord(key, receipt.tenantId, checkpoint);
  return receipt;
}

/** The log of the checkpoint holds the record of this destruction. @throws CvmpError LOG_INCONSISTENT */
function demandRecord(key: DestroyedKey, tenantId: string, checkpoint: SignedCheckpoint): void {
  const { record = new Uint8Array(), index = 0n, inclusionPath = [] } = key.logged ?? {};
  const { size, root } = checkpoint;
  const place = Number(index) - 1;
  if (!verifyInclusion(leafDigest(record), place, size, inclusionPath, root)) {
    const what = `the log does not prove to hold the destruction of ${toHex(key.keyId)}`;
    throw new CvmpError('LOG_INCONSISTENT', what);
  }
  const { operation, code, keyId, tenantId: of } = decodeLogRecord(record);
  const says = operation === 'key_destroy' && code === undefined && of === tenantId;
  if (!says || keyId === undefined || !equalBytes(keyId, key.keyId)) {
    const what = `record ${index} is not of the destruction of ${toHex(key.keyId)}`;
    throw new CvmpError('LOG_INCONSISTENT', what);
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
    ['in the log', `record ${key.logged?.index ?? 0}`],
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
