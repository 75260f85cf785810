import { equalBytes, fromHex, toHex, utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';

/** One share of a master key, as a person keeps it. */
export interface Share {
  /** Which set it is of; 8 bytes. */
  readonly setId: Uint8Array;
  readonly threshold: number;
  readonly total: number;
  /** 1 to `total`. */
  readonly number: number;
  /** What is combined; 33 bytes. */
  readonly value: Uint8Array;
}

export const shareLength = 33;
const checksumLength = 4;
const pattern =
  /^cvmp-share-([0-9a-f]{16})-([0-9]{1,2})of([0-9]{1,2})-([0-9]{1,2})-([0-9a-f]{66})-([0-9a-f]{8})$/;

/** "cvmp-share-SET-2of3-1-HEX-CHECKSUM": what it is, and a checksum against a slip of the pen. */
export function shareText({ setId, threshold, total, number, value }: Share): string {
  const text = `cvmp-share-${toHex(setId)}-${threshold}of${total}-${number}-${toHex(value)}`;
  return `${text}-${toHex(checksum(text))}`;
}

/**
 * Reads what {@link shareText} wrote; spaces around it and capitals do no harm.
 * @throws CvmpError MASTER_KEY
 */
export function readShare(bytes: Uint8Array): Share {
  const text = Buffer.from(bytes).toString('latin1').trim().toLowerCase();
  const match = pattern.exec(text);
  if (match === null) throw new CvmpError('MASTER_KEY', 'this is not a share of a master key');
  const [, set = '', threshold, total, number, value = '', sum = ''] = match;
  if (!equalBytes(checksum(text.slice(0, -(sum.length + 1))), fromHex(sum))) {
    throw new CvmpError('MASTER_KEY', `share ${number} is mistyped: its checksum is wrong`);
  }
  return {
    setId: fromHex(set),
    threshold: Number(threshold),
    total: Number(total),
    number: Number(number),
    value: fromHex(value),
  };
}

function checksum(text: string): Uint8Array {
  return crypto.hash('sha256', utf8(text)).subarray(0, checksumLength);
}

/** What a description keeps of a share, to tell a forged one: 16 bytes; the share is as random as a key. */
export function shareDigest({ setId, number, value }: Share): Uint8Array {
  const digest = crypto.hash('sha256', utf8('CVMP/1 share'), setId, Uint8Array.of(number), value);
  return digest.subarray(0, 16);
}
