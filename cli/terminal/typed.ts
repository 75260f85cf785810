import { readFile, stat } from 'node:fs/promises';
import { fromUtf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { CommandContext } from '../command.js';

/** More on standard input is no evidence. */
const inputBytesMax = 1 << 22;

/**
 * A whole number as typed.
 * @throws CvmpError USAGE naming the option
 */
export function wholeNumber(
  typed: string | undefined,
  option: string,
  range: { readonly min: number; readonly max: number; readonly otherwise: number },
): number {
  if (typed === undefined) return range.otherwise;
  const value = Number(typed);
  if (!/^\d{1,15}$/.test(typed) || value < range.min || value > range.max) {
    const why = `--${option} must be a whole number from ${range.min} to ${range.max}`;
    throw new CvmpError('USAGE', why, { field: option });
  }
  return value;
}

/**
 * Bytes in hex as typed.
 * @param length how many bytes
 * @throws CvmpError USAGE
 */
export function hexBytes(typed: string, name: string, length: number): Uint8Array {
  if (!/^[0-9a-fA-F]*$/.test(typed) || typed.length !== 2 * length) {
    throw new CvmpError('USAGE', `${name} must be ${length} bytes in hex`, { field: name });
  }
  return new Uint8Array(Buffer.from(typed, 'hex'));
}

/** Files are read whole; an initrd or a UKI has some 100 MiB. */
const fileBytesMax = 1 << 30;

/** What the system calls it, in words of people. */
const faults: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a folder; name the files in it',
  EACCES: 'its permissions do not let you',
  ENOTDIR: 'there is no such folder',
};

/** A file named on the command line. @throws CvmpError USAGE */
export async function readTypedBytes(context: CommandContext, file: string): Promise<Uint8Array> {
  try {
    const path = context.path(file);
    const { size } = await stat(path);
    if (size > fileBytesMax) {
      throw new CvmpError('USAGE', `${file} has ${size} bytes, at most ${fileBytesMax} are read`);
    }
    // A plain array: a Buffer's own slice shares its memory.
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = faults[code ?? ''] ?? message;
    throw new CvmpError('USAGE', `cannot read ${file}: ${why}`, { cause });
  }
}

/** A file named on the command line, or `-` for standard input. @throws CvmpError USAGE */
export async function readTypedInput(context: CommandContext, file: string): Promise<Uint8Array> {
  if (file !== '-') return readTypedBytes(context, file);
  // Not /dev/stdin: it cannot be opened where it is a socket, as under another program.
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Uint8Array);
    length += (chunk as Uint8Array).length;
    if (length > inputBytesMax) throw new CvmpError('USAGE', 'standard input is too long');
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** A text file named on the command line. @throws CvmpError USAGE, MALFORMED where it is not UTF-8 */
export async function readTypedText(context: CommandContext, file: string): Promise<string> {
  return fromUtf8(await readTypedBytes(context, file), file);
}

/**
 * A time as typed: RFC 3339, a date (its first moment, UTC), or seconds since 1970.
 * @returns milliseconds since 1970
 * @throws CvmpError USAGE
 */
export function typedTime(typed: string, option: string): number {
  if (/^\d{1,12}$/.test(typed)) return Number(typed) * 1000;
  const form = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?$/;
  const ms = form.test(typed) ? Date.parse(typed) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  const why = `--${option} must be a time such as 2027-01-31T12:00:00Z, or seconds since 1970`;
  throw new CvmpError('USAGE', why, { field: option });
}

/** Words with commas between, as typed; undefined where nothing was. */
export function wordList(typed: string | undefined): readonly string[] | undefined {
  return typed?.split(',').filter((word) => word !== '');
}
