import { CvmpError, type ErrorCode } from '../errors.js';
import { explicitTag, tag, tagName } from './tags.js';

/** One element: `encoded` is the whole TLV as received, `contents` its contents octets (views). */
export interface DerElement {
  readonly tag: number;
  readonly contents: Uint8Array;
  readonly encoded: Uint8Array;
  /** Path of the element in its structure, for messages. */
  readonly path: string;
}

/** Elements nested deeper than this are refused. */
const depthMax = 16;
/** No structure that CVMP reads is longer. */
const bytesMax = 1 << 20;

/**
 * Reads DER (X.690 s.10) element by element and names the offending one: definite minimal lengths,
 * low tag numbers, nothing beyond the end. What is inside is read by `values.ts`.
 *
 * Every method throws CvmpError MALFORMED (structure), NOT_CANONICAL (BER that is not DER) or SIZE.
 */
export class DerReader {
  readonly path: string;
  readonly #bytes: Uint8Array;
  readonly #depth: number;
  #at = 0;

  constructor(bytes: Uint8Array, path: string, depth = 0) {
    if (bytes.length > bytesMax) {
      throw derError('SIZE', path, `is longer than ${bytesMax} bytes`);
    }
    if (depth > depthMax) throw derError('SIZE', path, `is nested deeper than ${depthMax}`);
    this.#bytes = bytes;
    this.path = path;
    this.#depth = depth;
  }

  /** True where nothing remains. */
  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Identifier octet of the next element, or undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** The next element, which must have this tag. */
  element(expected: number, name: string): DerElement {
    const path = `${this.path}.${name}`;
    const found = this.nextTag;
    if (found === undefined) throw derError('MALFORMED', path, 'is missing');
    if (found !== expected) {
      throw derError('MALFORMED', path, `is ${tagName(found)}, not ${tagName(expected)}`);
    }
    return this.any(name);
  }

  /** The next element where it has this tag. */
  optional(expected: number, name: string): DerElement | undefined {
    return this.nextTag === expected ? this.element(expected, name) : undefined;
  }

  /** The next element, whatever its tag. */
  any(name: string): DerElement {
    const path = name === '' ? this.path : `${this.path}.${name}`;
    const start = this.#at;
    const octet = this.#octet(path);
    if ((octet & 0x1f) === 0x1f) throw derError('MALFORMED', path, 'has a high tag number');
    const length = this.#length(path);
    const from = this.#at;
    if (this.#bytes.length - from < length) {
      throw derError(
        'MALFORMED',
        path,
        `needs ${length} bytes, ${this.#bytes.length - from} remain`,
      );
    }
    this.#at = from + length;
    return {
      tag: octet,
      contents: this.#bytes.subarray(from, this.#at),
      encoded: this.#bytes.subarray(start, this.#at),
      path,
    };
  }

  /** Reader of the contents of the next element, which must have this constructed tag. */
  inside(expected: number, name: string): DerReader {
    return this.reader(this.element(expected, name));
  }

  sequence(name: string): DerReader {
    return this.inside(tag.sequence, name);
  }

  /** Reader inside `[n] EXPLICIT`, or undefined where the next element is another. */
  optionalExplicit(n: number, name: string): DerReader | undefined {
    return this.nextTag === explicitTag(n) ? this.inside(explicitTag(n), name) : undefined;
  }

  /** Reader of the contents of an element that was read here. */
  reader(element: DerElement): DerReader {
    return new DerReader(element.contents, element.path, this.#depth + 1);
  }

  /** Every remaining element must have been read. */
  end(): void {
    if (!this.done) {
      const extra = this.#bytes.length - this.#at;
      throw derError('MALFORMED', this.path, `has ${extra} bytes that do not belong there`);
    }
  }

  #octet(path: string): number {
    const octet = this.#bytes[this.#at];
    if (octet === undefined) throw derError('MALFORMED', path, 'is cut off');
    this.#at += 1;
    return octet;
  }

  #length(path: string): number {
    const first = this.#octet(path);
    if (first < 0x80) return first;
    if (first === 0x80) throw derError('NOT_CANONICAL', path, 'has an indefinite length');
    const count = first & 0x7f;
    if (count > 4) throw derError('SIZE', path, 'has a length of more than 4 bytes');
    let length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + this.#octet(path);
    const minimal = length >= 0x80 && (count === 1 || length >= 256 ** (count - 1));
    if (!minimal) throw derError('NOT_CANONICAL', path, 'has a length that is not minimal');
    return length;
  }
}

/** The one element that fills `bytes` completely. @throws as {@link DerReader} */
export function oneElement(bytes: Uint8Array, path: string): DerElement {
  const outer = new DerReader(bytes, path);
  const element = outer.any('');
  outer.end();
  return element;
}

/** Reads one SEQUENCE that fills `bytes` completely. @throws as {@link DerReader} */
export function readDer<T>(bytes: Uint8Array, path: string, read: (inner: DerReader) => T): T {
  const element = oneElement(bytes, path);
  if (element.tag !== tag.sequence) {
    throw derError('MALFORMED', path, `is ${tagName(element.tag)}, not a sequence`);
  }
  const inner = new DerReader(element.contents, path, 1);
  const value = read(inner);
  inner.end();
  return value;
}

/** An error that names the element it is about. */
export function derError(code: ErrorCode, path: string, message: string): CvmpError {
  return new CvmpError(code, `${path} ${message}`, { field: path });
}
