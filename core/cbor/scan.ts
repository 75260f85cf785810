import { fromUtf8 } from '../bytes.js';
import { CvmpError, type ErrorCode } from '../errors.js';

export interface ScanRules {
  /** Arrays, maps and tags inside each other. */
  readonly depthMax: number;
  /** Tag numbers that may occur. */
  readonly tags: ReadonlySet<number>;
  /** RFC 8949 s.4.2.1; otherwise only what makes a value ambiguous or costly is refused. */
  readonly canonical: boolean;
}

const unsigned = 0;
const negative = 1;
const bytesType = 2;
const text = 3;
const array = 4;
const map = 5;
const tag = 6;
const indefinite = -1;

/**
 * Reads all of `bytes` as one CBOR item without building a value, and refuses what CVMP does not
 * admit, so that no laxity of the decoder behind it can matter.
 * @returns whether the item holds 64-bit integers or tags, which the decoder renders in its own way
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE
 */
export function scan(bytes: Uint8Array, rules: ScanRules): boolean {
  return new Scanner(bytes, rules).all();
}

class Scanner {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rules: ScanRules;
  #at = 0;
  /** Length of the argument's encoding of the last head: 0 (in the initial byte), 1, 2, 4, 8. */
  #width = 0;
  #special = false;

  constructor(bytes: Uint8Array, rules: ScanRules) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#rules = rules;
  }

  all(): boolean {
    this.#item(0);
    if (this.#at !== this.#bytes.length) throw this.#error('MALFORMED', 'bytes follow the item');
    return this.#special;
  }

  #error(code: ErrorCode, what: string): CvmpError {
    return new CvmpError(code, `CBOR: ${what} (byte ${this.#at})`);
  }

  #item(depth: number): void {
    const initial = this.#byte();
    const major = initial >> 5;
    if (major === 7) {
      this.#simple(initial & 31);
      return;
    }
    const argument = this.#argument(major, initial & 31);
    switch (major) {
      case unsigned:
      case negative:
        if (this.#width === 8) this.#special = true;
        break;
      case bytesType:
        this.#skip(argument);
        break;
      case text:
        this.#text(argument);
        break;
      case array:
        this.#array(argument, this.#deeper(depth));
        break;
      case map:
        this.#map(argument, this.#deeper(depth));
        break;
      case tag:
        if (!this.#rules.tags.has(argument)) {
          throw this.#error('MALFORMED', `tag ${argument} is not expected here`);
        }
        this.#special = true;
        this.#item(this.#deeper(depth));
    }
  }

  #deeper(depth: number): number {
    if (depth >= this.#rules.depthMax) {
      throw this.#error('SIZE', `deeper than ${this.#rules.depthMax}`);
    }
    return depth + 1;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw this.#error('MALFORMED', 'truncated');
    this.#at++;
    return byte;
  }

  #skip(length: number): void {
    if (length > this.#bytes.length - this.#at) throw this.#error('MALFORMED', 'truncated');
    this.#at += length;
  }

  #simple(low: number): void {
    if (low < 20 || low > 22) {
      throw this.#error('MALFORMED', 'a float, or a simple value other than false, true and null');
    }
  }

  /** The head's argument; exact below 2^53, which every length that fits the input is. */
  #argument(major: number, low: number): number {
    this.#width = 0;
    if (low < 24) return low;
    if (low === 31 && !this.#rules.canonical && (major === array || major === map)) {
      return indefinite;
    }
    if (low > 27) {
      if (low === 31) throw this.#error('NOT_CANONICAL', 'indefinite length');
      throw this.#error('MALFORMED', 'reserved additional information');
    }
    const width = 1 << (low - 24);
    const at = this.#at;
    this.#skip(width);
    this.#width = width;
    const value = this.#unsigned(at, width);
    const least = width === 1 ? 24 : 2 ** (4 * width);
    if (value < least && this.#rules.canonical) {
      throw this.#error('NOT_CANONICAL', 'a number or length is not in its shortest form');
    }
    return value;
  }

  #unsigned(at: number, width: number): number {
    if (width === 1) return this.#view.getUint8(at);
    if (width === 2) return this.#view.getUint16(at);
    if (width === 4) return this.#view.getUint32(at);
    return this.#view.getUint32(at) * 0x1_0000_0000 + this.#view.getUint32(at + 4);
  }

  #text(length: number): void {
    const from = this.#at;
    this.#skip(length);
    const bytes = this.#bytes;
    for (let i = from; i < this.#at; i++) {
      if (bytes[i]! < 0x80) continue;
      const decoded = fromUtf8(bytes.subarray(from, this.#at));
      // Decoders drop a leading byte order mark, so two encodings would become one text.
      if (decoded.startsWith('\ufeff')) throw this.#error('MALFORMED', 'byte order mark');
      return;
    }
  }

  #array(count: number, depth: number): void {
    if (count === indefinite) {
      while (!this.#atBreak()) this.#item(depth);
      return;
    }
    if (count > this.#bytes.length - this.#at) throw this.#error('MALFORMED', 'truncated');
    for (let i = 0; i < count; i++) this.#item(depth);
  }

  #map(count: number, depth: number): void {
    if (2 * count > this.#bytes.length - this.#at) throw this.#error('MALFORMED', 'truncated');
    if (this.#rules.canonical) this.#sortedEntries(count, depth);
    else this.#distinctEntries(count, depth);
  }

  #sortedEntries(count: number, depth: number): void {
    let previousFrom = 0;
    let previousTo = 0;
    for (let i = 0; i < count; i++) {
      const from = this.#at;
      this.#key(depth);
      if (i > 0) this.#ascending(previousFrom, previousTo, from);
      previousFrom = from;
      previousTo = this.#at;
      this.#item(depth);
    }
  }

  /** The key that begins at `from` and ends here must be greater than the previous one. */
  #ascending(previousFrom: number, previousTo: number, from: number): void {
    const bytes = this.#bytes;
    const length = Math.min(previousTo - previousFrom, this.#at - from);
    for (let i = 0; i < length; i++) {
      const difference = bytes[from + i]! - bytes[previousFrom + i]!;
      if (difference > 0) return;
      if (difference < 0) throw this.#error('NOT_CANONICAL', 'map keys are not in order');
    }
    // One encoded key cannot be the proper prefix of another: they are equal.
    throw this.#error('MALFORMED', 'duplicate map key');
  }

  #distinctEntries(count: number, depth: number): void {
    const seen = new Set<string>();
    for (let i = 0; count === indefinite ? !this.#atBreak() : i < count; i++) {
      const key = this.#key(depth);
      if (seen.has(key)) throw this.#error('MALFORMED', 'duplicate map key');
      seen.add(key);
      this.#item(depth);
    }
  }

  /** A name of the key that is the same for every encoding of it. */
  #key(depth: number): string {
    const from = this.#at;
    const major = (this.#bytes[from] ?? 0) >> 5;
    if (major !== unsigned && major !== negative && major !== text) {
      throw this.#error('MALFORMED', 'a map key is neither an integer nor a text');
    }
    this.#item(depth);
    if (this.#rules.canonical) return '';
    const width = this.#width;
    if (major === text) {
      return `text ${fromUtf8(this.#bytes.subarray(from + 1 + width, this.#at))}`;
    }
    const argument =
      width === 8
        ? this.#view.getBigUint64(from + 1)
        : width === 0
          ? this.#bytes[from]! & 31
          : this.#unsigned(from + 1, width);
    return `${major} ${argument}`;
  }

  #atBreak(): boolean {
    if (this.#bytes[this.#at] !== 0xff) return false;
    this.#at++;
    return true;
  }
}
