import { addExtension, Decoder, Tag as ForeignTag } from 'cbor-x';
import { CvmpError } from '../errors.js';
import { type ScanRules, scan } from './scan.js';
import { type CborMap, type CborValue, Tag } from './value.js';

export interface DecodeOptions {
  /** Arrays, maps and tags inside each other; 16 unless told. */
  readonly maxDepth?: number;
  /** 1 MiB unless told. */
  readonly maxBytes?: number;
  /** The only tags that may occur; none unless told. */
  readonly tags?: readonly number[];
  /**
   * `false` admits foreign evidence that is well-formed and unambiguous but not deterministic:
   * unsorted keys, longer heads, indefinite arrays and maps. True unless told.
   */
  readonly canonical?: boolean;
  /** Names the value in errors. */
  readonly field?: string;
}

const depthDefault = 16;
const bytesDefault = 1024 * 1024;

const decoder = new Decoder({
  mapsAsObjects: false,
  useRecords: false,
  // Values must not alias the input, which may be a reused or zeroised buffer.
  copyBuffers: true,
} as ConstructorParameters<typeof Decoder>[0]);

// Epoch times (tag 1) stay what they are: a Date would lose whether they were integers.
addExtension({ tag: 1, decode: (value: unknown) => new ForeignTag(value, 1) } as Parameters<
  typeof addExtension
>[0]);

/** Tags that the decoder behind the scanner would turn into something else (Date, Set, bignum). */
function isInterpreted(tag: number): boolean {
  return (
    (tag < 7 && tag !== 1) ||
    [14, 15, 25, 27, 28, 29, 51, 105, 256, 258, 259].includes(tag) ||
    (tag >= 64 && tag <= 87) ||
    (tag >= 0xdff9 && tag <= 0xdfff)
  );
}

/**
 * Decodes one CBOR item that fills `bytes`. The strict scanner decides what is admitted; the
 * decoder behind it only builds the values. Floats, bignums, simple values other than false, true
 * and null, duplicate keys, keys that are neither integer nor text, text that is not UTF-8 or
 * begins with a byte order mark, and trailing bytes are always refused.
 * Byte strings are copies. 64-bit integers are exact.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE
 */
export function decode(bytes: Uint8Array, options: DecodeOptions = {}): CborValue {
  const maxBytes = options.maxBytes ?? bytesDefault;
  try {
    if (bytes.length > maxBytes) {
      throw new CvmpError('SIZE', `CBOR of ${bytes.length} bytes, at most ${maxBytes}`);
    }
    const special = scan(bytes, rules(options));
    // A fresh view: the decoder attaches a property to what it is given.
    const value: unknown = decoder.decode(
      new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    );
    return special ? ours(value) : (value as CborValue);
  } catch (error) {
    throw named(error, options.field);
  }
}

function rules(options: DecodeOptions): ScanRules {
  const tags = new Set(options.tags ?? []);
  for (const tag of tags) {
    if (isInterpreted(tag)) throw new TypeError(`tag ${tag} cannot be decoded as a plain tag`);
  }
  return {
    depthMax: options.maxDepth ?? depthDefault,
    tags,
    canonical: options.canonical ?? true,
  };
}

/** Turns the decoder's own integers and tags into ours. */
function ours(value: unknown): CborValue {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (Array.isArray(value)) return value.map(ours);
  if (value instanceof Map) {
    const map = new Map([...value].map(([key, item]) => [ours(key), ours(item)]));
    return map as unknown as CborMap;
  }
  if (value instanceof ForeignTag) return new Tag(value.tag, ours(value.value));
  return value as CborValue;
}

function named(error: unknown, field: string | undefined): unknown {
  if (!(error instanceof CvmpError) || field === undefined) return error;
  return new CvmpError(error.code, `${field}: ${error.message}`, { field, cause: error.cause });
}
