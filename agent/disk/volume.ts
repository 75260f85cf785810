import { utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import {
  type Disk,
  type DiskSlot,
  type DiskToken,
  freeSlot,
  newestFirst,
  type OpenSlot,
} from './disk.js';
import type { DiskFile } from './disk-file.js';
import {
  encodeHeader,
  headerBytes,
  parseHeader,
  type VolumeHeader,
  type VolumeSlot,
} from './volume-header.js';

/** Where the marker lies: 12 bytes nonce and the sealed volume id. */
const markerOffset = 64 * 1024;
const markerBytes = 12 + 16 + 16;

/**
 * Key slots in user space, for where cryptsetup is absent: a random volume key, sealed per slot
 * under a key derived from the slot's Security Key with the slot's token as associated data, and a
 * marker sealed under the volume key, so that what opens has proved its key. Two copies of the
 * header, written in turn, so that one is whole at any time. It holds no file system.
 */
export class VolumeDisk implements Disk {
  readonly backend = 'volume';
  readonly #file: DiskFile;
  #header: VolumeHeader | undefined;

  private constructor(file: DiskFile, header: VolumeHeader | undefined) {
    this.#file = file;
    this.#header = header;
  }

  /**
   * @param file closed with this disk, unless load fails
   * @throws CvmpError DISK, HEADER_REFUSED
   */
  static async load(file: DiskFile): Promise<VolumeDisk> {
    return new VolumeDisk(file, currentHeader(await file.read(0, 2 * headerBytes)));
  }

  get slots(): readonly DiskSlot[] | undefined {
    return this.#header && newestFirst(this.#header.slots.map(({ id, token }) => ({ id, token })));
  }

  async format(key: Uint8Array, token: DiskToken): Promise<DiskSlot> {
    if (this.#header !== undefined) throw new CvmpError('DISK', 'the disk is formatted already');
    const volumeId = crypto.randomBytes(16);
    const volumeKey = crypto.randomBytes(32);
    try {
      const iv = crypto.randomBytes(12);
      const marker = crypto.aesGcmSeal(volumeKey, iv, volumeId, utf8('CVMP/1 volume marker'));
      await this.#file.write(markerOffset, Buffer.concat([iv, marker]));
      const slot = sealSlot(0, token, key, volumeKey, volumeId);
      // The second copy first: while the first is all zero, the disk counts as unformatted.
      await this.#write({ sequence: 1, volumeId, slots: [slot] });
      await this.#write({ sequence: 2, volumeId, slots: [slot] });
      return { id: 0, token };
    } finally {
      volumeKey.fill(0);
    }
  }

  async testOpen(slot: DiskSlot, key: Uint8Array): Promise<boolean> {
    const volumeKey = this.#volumeKey({ slot, key });
    volumeKey?.fill(0);
    return volumeKey !== undefined;
  }

  async open(opener: OpenSlot): Promise<'proved'> {
    const volumeKey = this.#require(opener);
    try {
      const record = await this.#file.read(markerOffset, markerBytes);
      const aad = utf8('CVMP/1 volume marker');
      crypto.aesGcmOpen(volumeKey, record.subarray(0, 12), record.subarray(12), aad);
      return 'proved';
    } catch (cause) {
      if (cause instanceof CvmpError && cause.code !== 'DECRYPT_FAILED') throw cause;
      throw new CvmpError('DISK', 'the marker of the volume does not open', { cause });
    } finally {
      volumeKey.fill(0);
    }
  }

  async addSlot(opener: OpenSlot, key: Uint8Array, token: DiskToken): Promise<DiskSlot> {
    const volumeKey = this.#require(opener);
    try {
      const { sequence, volumeId, slots } = this.#header!;
      const id = freeSlot(slots);
      const slot = sealSlot(id, token, key, volumeKey, volumeId);
      await this.#write({ sequence: sequence + 1, volumeId, slots: [...slots, slot] });
      return { id, token };
    } finally {
      volumeKey.fill(0);
    }
  }

  async removeSlot(slot: DiskSlot, opener: OpenSlot): Promise<void> {
    if (slot.id === opener.slot.id) throw new CvmpError('DISK', 'the last key is never removed');
    this.#require(opener).fill(0);
    const { sequence, volumeId, slots } = this.#header!;
    const rest = slots.filter((s) => s.id !== slot.id);
    // Both copies: the sealed volume key of the removed slot must not survive in the older one.
    await this.#write({ sequence: sequence + 1, volumeId, slots: rest });
    await this.#write({ sequence: sequence + 2, volumeId, slots: rest });
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #write(header: VolumeHeader): Promise<void> {
    // Never the copy that is in force: sequence n lies in copy n mod 2.
    await this.#file.write((header.sequence % 2) * headerBytes, encodeHeader(header));
    this.#header = header;
  }

  #require(opener: OpenSlot): Uint8Array {
    const volumeKey = this.#volumeKey(opener);
    if (volumeKey === undefined) throw new CvmpError('DISK', 'the key does not open its slot');
    return volumeKey;
  }

  #volumeKey({ slot, key }: OpenSlot): Uint8Array | undefined {
    const found = this.#header?.slots.find((s) => s.id === slot.id);
    if (found === undefined) return undefined;
    const wrap = wrappingKey(key);
    try {
      return crypto.aesGcmOpen(
        wrap,
        found.iv,
        found.sealed,
        slotAad(found, this.#header!.volumeId),
      );
    } catch {
      return undefined;
    } finally {
      wrap.fill(0);
    }
  }
}

function currentHeader(copies: Uint8Array): VolumeHeader | undefined {
  const first = parseHeader(copies.subarray(0, headerBytes));
  const second = parseHeader(copies.subarray(headerBytes));
  const whole = [first, second].filter((h) => typeof h === 'object');
  whole.sort((a, b) => b.sequence - a.sequence);
  if (whole.length === 0 && first !== 'empty') {
    throw new CvmpError('HEADER_REFUSED', 'no copy of the header is whole', { field: 'header' });
  }
  return whole[0];
}

function sealSlot(
  id: number,
  token: DiskToken,
  key: Uint8Array,
  volumeKey: Uint8Array,
  volumeId: Uint8Array,
): VolumeSlot {
  const iv = crypto.randomBytes(12);
  const wrap = wrappingKey(key);
  const sealed = crypto.aesGcmSeal(wrap, iv, volumeKey, slotAad({ id, token }, volumeId));
  wrap.fill(0);
  return { id, token, iv, sealed };
}

/** Security Keys are 16 to 64 bytes long and uniform; AES-256 wants 32. */
function wrappingKey(key: Uint8Array): Uint8Array {
  return crypto.hmac('sha256', key, utf8('CVMP/1 volume slot'));
}

function slotAad({ id, token }: DiskSlot, volumeId: Uint8Array): Uint8Array {
  const { keyId, svn, epoch } = token;
  return encode(['CVMP/1 volume slot', volumeId, id, keyId, svn, epoch]);
}
