import { closeSync, openSync, readSync } from 'node:fs';
import { CvmpError } from '#core/errors.js';
import { crc32c, unmasked } from './crc32c.js';

// LevelDB's log format (doc/log_format.md): blocks of 32 KiB, records in them with a header of CRC
// (4 bytes, masked), length (2) and type (1: whole, 2 to 4: first, middle, last part).

const blockLength = 32_768;
const headerLength = 7;

/** One record of the format, which may be a part of what was written. */
interface Fragment {
  /** 1 whole, 2 first, 3 middle, 4 last part. */
  readonly type: number;
  readonly bytes: Uint8Array;
}

/**
 * Reads a log file of LevelDB (.log, MANIFEST) without LevelDB, which skips what is damaged and says
 * nothing. Bytes at the end that are no record are what a crash leaves of a write that nobody was
 * told of; damage with records after it is damage.
 * @returns where the last record ends
 * @throws CvmpError STORE_CORRUPT
 */
export function readLogFile(
  path: string,
  each: (fragment: Fragment) => void = () => undefined,
): number {
  const file = openSync(path, 'r');
  try {
    return readBlocks(file, path, each);
  } finally {
    closeSync(file);
  }
}

function readBlocks(file: number, path: string, each: (fragment: Fragment) => void): number {
  const block = Buffer.alloc(blockLength);
  let damagedAt: number | undefined;
  let end = 0;
  for (let start = 0; ; start += blockLength) {
    const length = readFully(file, block, start);
    let offset = 0;
    for (;;) {
      const fragment = fragmentAt(block.subarray(0, length), offset);
      if (fragment === undefined) {
        if (isTrailer(offset, length)) break;
        damagedAt ??= start + offset;
        offset = nextFragment(block.subarray(0, length), offset + 1);
        if (offset < 0) break;
        continue;
      }
      if (damagedAt !== undefined) {
        const what = `${path} is damaged at byte ${damagedAt}; there are records after it`;
        throw new CvmpError('STORE_CORRUPT', what);
      }
      each(fragment);
      offset += headerLength + fragment.bytes.length;
      end = start + offset;
    }
    if (length < blockLength) return end;
  }
}

/** @returns how many bytes the block has, fewer than the buffer at the end of the file */
function readFully(file: number, buffer: Uint8Array, position: number): number {
  let length = 0;
  while (length < buffer.length) {
    const read = readSync(file, buffer, length, buffer.length - length, position + length);
    if (read === 0) break;
    length += read;
  }
  return length;
}

/** A block ends with zeros where no header fits. */
function isTrailer(offset: number, length: number): boolean {
  if (offset === length) return true;
  return length === blockLength && length - offset < headerLength;
}

function fragmentAt(block: Buffer, offset: number): Fragment | undefined {
  if (offset + headerLength > block.length) return undefined;
  const length = block.readUInt16LE(offset + 4);
  const type = block[offset + 6]!;
  const end = offset + headerLength + length;
  if (type < 1 || type > 4 || end > block.length) return undefined;
  // The CRC covers the type too.
  const guarded = block.subarray(offset + 6, end);
  if (crc32c(guarded) !== unmasked(block.readUInt32LE(offset))) return undefined;
  return { type, bytes: block.subarray(offset + headerLength, end) };
}

/** @returns where a record begins at or after this offset; -1: nowhere in the block */
function nextFragment(block: Buffer, from: number): number {
  for (let offset = from; offset + headerLength <= block.length; offset++) {
    if (fragmentAt(block, offset) !== undefined) return offset;
  }
  return -1;
}
