import { CvmpError, isErrorCode } from '#core/errors.js';

/** A parser of bytes that a stranger may send. */
export interface HostileParser {
  readonly name: string;
  /** Everything that reads these bytes before anything vouches for them. */
  readonly parse: (bytes: Uint8Array) => unknown;
  /** Sound inputs, made here. */
  readonly seeds: () => Promise<readonly Uint8Array[]> | readonly Uint8Array[];
}

/** The longest that a parser may take for an input of the fuzzer, milliseconds. */
export const parseMsMax = 250;
/** The most that it may allocate for one, bytes. */
export const parseBytesMax = 64 * 1024 * 1024;
/** The fuzzer makes no longer inputs than the longest seed and so much. */
export const growthMax = 4096;

/**
 * Gives the bytes to the parser.
 * @returns `accepted`, or the code of the refusal
 * @throws Error where it ends in anything but a code of the table: a bug of the parser
 */
export async function outcomeOf(
  { name, parse }: HostileParser,
  input: Uint8Array,
): Promise<string> {
  try {
    await parse(input);
    return 'accepted';
  } catch (error) {
    if (error instanceof CvmpError && isErrorCode(error.code)) return error.code;
    throw new Error(`${name}: ${error instanceof Error ? error.stack : String(error)}`, {
      cause: error,
    });
  }
}
