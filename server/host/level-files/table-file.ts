import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CvmpError } from '#core/errors.js';
import { crc32c, unmasked } from './crc32c.js';

// LevelDB's table format (doc/table_format.md): blocks, each with a type (1 byte) and a CRC (4) after
// it, one after the other; at the end a footer of 48 bytes that names the last two of them.

const footerLength = 48;
const trailerLength = 5;
/** The last 8 bytes of the footer, little-endian. */
const magic = 0xdb4775248b80fb57n;

interface Handle {
  readonly offset: number;
  readonly size: number;
}

/**
 * Verifies every block of a table file, which LevelDB does not do when it reads.
 * @returns of each block how many bytes it has, so that others can come in between
 * @throws CvmpError STORE_CORRUPT; the system's error where the file cannot be read
 */
export function* verifyTable(path: string): Generator<number, void> {
  const file = openSync(path, 'r');
  try {
    const table = new TableFile(file, path);
    for (const handle of table.handles()) {
      table.block(handle);
      yield handle.size;
    }
  } finally {
    closeSync(file);
  }
}

/** Verifies only the end of a table file, which says where its blocks are. @throws as {@link verifyTable} */
export function verifyTableIndex(path: string): void {
  const file = openSync(path, 'r');
  try {
    new TableFile(file, path).handles();
  } finally {
    closeSync(file);
  }
}

class TableFile {
  readonly #file: number;
  readonly #path: string;

  constructor(file: number, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /** Of the data blocks; all other blocks are verified on the way. */
  handles(): readonly Handle[] {
    const size = this.#size();
    if (size < footerLength) this.#refuse(0);
    const footer = this.#bytes(size - footerLength, footerLength);
    if (footer.readBigUInt64LE(footerLength - 8) !== magic) this.#refuse(size - footerLength);
    const metaIndex = handleAt(footer, 0);
    const index = metaIndex && handleAt(footer, metaIndex.end);
    const isPadded = index && footer.subarray(index.end, -8).every((byte) => byte === 0);
    if (index === undefined || !isPadded) return this.#refuse(size - footerLength);
    const data = this.#named(index);
    // A flipped bit in the Bloom filter is a key that is not found.
    const filters = this.#named(metaIndex!);
    for (const filter of filters) this.block(filter);
    this.#mustFollow([...data, ...filters, metaIndex!, index], size - footerLength);
    return data;
  }

  /** @throws CvmpError STORE_CORRUPT */
  block({ offset, size }: Handle): Buffer {
    const bytes = this.#bytes(offset, size + trailerLength);
    if (crc32c(bytes.subarray(0, size + 1)) !== unmasked(bytes.readUInt32LE(size + 1))) {
      this.#refuse(offset);
    }
    return bytes.subarray(0, size);
  }

  /** @returns the blocks that this one names */
  #named(handle: Handle): readonly Handle[] {
    return entriesOf(this.block(handle)) ?? this.#refuse(handle.offset);
  }

  /** Blocks follow each other from the begin to the footer: none is left out. */
  #mustFollow(handles: readonly Handle[], end: number): void {
    let offset = 0;
    for (const handle of handles) {
      if (handle.offset !== offset) this.#refuse(offset);
      offset += handle.size + trailerLength;
    }
    if (offset !== end) this.#refuse(offset);
  }

  #size(): number {
    return fstatSync(this.#file).size;
  }

  #bytes(offset: number, length: number): Buffer {
    // A damaged handle must not make it allocate gigabytes.
    if (length > 64 * 1024 * 1024) this.#refuse(offset);
    const bytes = Buffer.allocUnsafe(length);
    if (readSync(this.#file, bytes, 0, length, offset) !== length) this.#refuse(offset);
    return bytes;
  }

  #refuse(offset: number): never {
    throw new CvmpError('STORE_CORRUPT', `${this.#path} is damaged in the block at ${offset}`);
  }
}

/** Values of a block's entries as handles: [shared, unshared, length] as varints, key, value. */
function entriesOf(block: Buffer): readonly Handle[] | undefined {
  if (block.length < 4) return undefined;
  const restarts = block.readUInt32LE(block.length - 4);
  const end = block.length - 4 - 4 * restarts;
  const handles: Handle[] = [];
  for (let at = 0; at < end; ) {
    const shared = varint(block, at);
    const unshared = shared && varint(block, shared.end);
    const length = unshared && varint(block, unshared.end);
    if (length === undefined) return undefined;
    const value = length.end + unshared!.value;
    const handle = handleAt(block, value);
    if (handle === undefined) return undefined;
    handles.push(handle);
    at = value + length.value;
  }
  return handles;
}

function handleAt(bytes: Uint8Array, at: number): (Handle & { end: number }) | undefined {
  const offset = varint(bytes, at);
  const size = offset && varint(bytes, offset.end);
  return size && { offset: offset!.value, size: size.value, end: size.end };
}

function varint(bytes: Uint8Array, from: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let at = from, factor = 1; factor <= 2 ** 49; at++, factor *= 128) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    value += (byte & 127) * factor;
    if (byte < 128) return { value, end: at + 1 };
  }
  return undefined;
}
