import { concat, equalBytes, isZero, utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { decodeMap, readMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { type DiskToken, slotsMax } from './disk.js';

/** Bytes of one of the two copies of the header. */
export const headerBytes = 4096;

const magic = utf8('CVMPVOL1');
const digestBytes = 32;

/** A slot: the volume key sealed under a key derived from the Security Key. */
export interface VolumeSlot {
  readonly id: number;
  readonly token: DiskToken;
  /** AES-GCM nonce, 12 bytes. */
  readonly iv: Uint8Array;
  /** Sealed volume key, 48 bytes. */
  readonly sealed: Uint8Array;
}

/** Content of a header copy. */
export interface VolumeHeader {
  /** Counts header writes; the copy with the higher one is in force. */
  readonly sequence: number;
  /** 16 random bytes; part of what every slot and the marker are sealed over. */
  readonly volumeId: Uint8Array;
  readonly slots: readonly VolumeSlot[];
}

/** One copy: magic, deterministic CBOR padded with zeros, SHA-256 over both. 4096 bytes. */
export function encodeHeader(header: VolumeHeader): Uint8Array {
  const body = encode(
    new Map<number, CborValue>([
      [1, 1],
      [2, header.sequence],
      [3, header.volumeId],
      [4, header.slots.map(slotMap)],
    ]),
  );
  const copy = new Uint8Array(headerBytes);
  const content = concat(magic, new Uint8Array([body.length >> 8, body.length & 0xff]), body);
  copy.set(content);
  copy.set(digest(copy), headerBytes - digestBytes);
  return copy;
}

/**
 * Reads one copy. `empty`: all zero. `torn`: the digest does not fit, so its write never ended.
 * @throws CvmpError HEADER_REFUSED where the digest fits but the content is not ours
 */
export function parseHeader(copy: Uint8Array): VolumeHeader | 'empty' | 'torn' {
  if (isZero(copy)) return 'empty';
  if (!equalBytes(digest(copy), copy.subarray(headerBytes - digestBytes))) return 'torn';
  try {
    return parseContent(copy);
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    throw new CvmpError('HEADER_REFUSED', cause.message, { cause, field: cause.field ?? 'header' });
  }
}

function parseContent(copy: Uint8Array): VolumeHeader {
  const at = magic.length + 2;
  const length = (copy[at - 2]! << 8) | copy[at - 1]!;
  const end = at + length;
  if (!equalBytes(copy.subarray(0, magic.length), magic) || end > headerBytes - digestBytes) {
    throw new CvmpError('MALFORMED', 'not a volume header');
  }
  if (!isZero(copy.subarray(end, headerBytes - digestBytes))) {
    throw new CvmpError('MALFORMED', 'bytes follow the end of the volume header');
  }
  return decodeMap(copy.subarray(at, end), 'header', (m) => {
    m.integer(1, 'version', { min: 1, max: 1 });
    const header: VolumeHeader = {
      sequence: m.integer(2, 'sequence', { min: 1 }),
      volumeId: m.bytes(3, 'volume_id', { length: 16 }),
      slots: m.array(4, 'slots', { min: 1, max: slotsMax }, parseSlot),
    };
    if (new Set(header.slots.map((s) => s.id)).size !== header.slots.length) {
      throw new CvmpError('MALFORMED', 'two slots have one id', { field: 'header.slots' });
    }
    return header;
  });
}

function parseSlot(value: CborValue, field: string): VolumeSlot {
  return readMap(value, field, (m) => ({
    id: m.integer(1, 'id', { max: slotsMax - 1 }),
    token: {
      keyId: m.bytes(2, 'key_id', { length: 16 }),
      svn: m.integer(3, 'svn', { min: 1, max: 0xffff_ffff }),
      epoch: m.integer(4, 'epoch', { min: 1, max: 0xffff_ffff }),
    },
    iv: m.bytes(5, 'iv', { length: 12 }),
    sealed: m.bytes(6, 'sealed', { length: 48 }),
  }));
}

function slotMap(slot: VolumeSlot): CborValue {
  return new Map<number, CborValue>([
    [1, slot.id],
    [2, slot.token.keyId],
    [3, slot.token.svn],
    [4, slot.token.epoch],
    [5, slot.iv],
    [6, slot.sealed],
  ]);
}

function digest(copy: Uint8Array): Uint8Array {
  return crypto.hash('sha256', copy.subarray(0, headerBytes - digestBytes));
}
