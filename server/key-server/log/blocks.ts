import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, asInteger } from '#core/cbor/read.js';
import { decodeLogRecord, type LogRecord } from '#core/log/record.js';
import { leafDigest } from '#core/log/tree.js';
import type { LatePut, RecordSealer } from '../store/seal.js';
import type { Stored } from '../store/store.js';

/** The records of one batch, sealed together under the name of the first. */
export const blockPrefix = 'audit/';
export const ordered = (index: number) => index.toString(16).padStart(12, '0');
export const blockKey = (first: number) => `${blockPrefix}${ordered(first)}`;

/** Names of the blocks with records of a tenant, and of those among them with a refusal. */
export const tenantPrefix = (tenantId: string) => `audit-of/${tenantId}/`;
export const refusalPrefix = (tenantId: string) => `audit-refused/${tenantId}/`;

/** A record as it is hashed, and read. */
export interface Logged extends LogRecord {
  readonly bytes: Uint8Array;
  readonly leaf: Uint8Array;
}

export interface Block {
  /** Batches that recorded anything, this one included. */
  readonly stateVersion: number;
  /** Records as they are hashed. */
  readonly bodies: readonly Uint8Array[];
}

export function blockPut(sealer: RecordSealer, first: number, block: Block): LatePut {
  return sealer.put(blockKey(first), 0, encode([block.stateVersion, block.bodies]));
}

/** @throws CvmpError STORE_CORRUPT, MALFORMED */
export function openBlock(key: string, stored: Stored, sealer: RecordSealer): Block {
  const [version, list] = asArray(decode(sealer.open(key, stored)), key, { length: 2 });
  return {
    stateVersion: asInteger(version, key, { min: 1 }),
    bodies: asArray(list, key, { min: 1 }).map((item) => asBytes(item, key)),
  };
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function readLogged(bytes: Uint8Array): Logged {
  return { ...decodeLogRecord(bytes), bytes, leaf: leafDigest(bytes) };
}
