import { compareBytes, utf8 } from '../bytes.js';
import { type CborKey, type CborMap, type CborValue, Tag } from './value.js';

const maxUint64 = 0xffff_ffff_ffff_ffffn;
/** A buffer that grew beyond this is given back. */
const keptMax = 65_536;
/** Longer texts are the platform's encoder's. */
const asciiMax = 64;

/**
 * Deterministic encoding (RFC 8949 s.4.2.1): shortest heads, definite lengths, map keys in bytewise
 * order of their encodings.
 * @throws TypeError on what CVMP never encodes: floats, integers beyond 64 bits, duplicate keys,
 *   lone surrogates, a text that begins with a byte order mark, other types.
 */
export function encode(value: CborValue): Uint8Array {
  // Encodings are short and many: one buffer serves all of them, and keeps nothing.
  const writer = spare ?? new CborWriter();
  spare = undefined;
  try {
    writer.value(value);
    return writer.bytes();
  } finally {
    writer.clear();
    spare = writer;
  }
}

let spare: CborWriter | undefined;

/** Appends deterministic CBOR to a growing buffer. */
class CborWriter {
  #buffer = new Uint8Array(1024);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }

  /** What was encoded may be secret: nothing of it stays. */
  clear(): void {
    this.#buffer.fill(0, 0, this.#length);
    this.#length = 0;
    if (this.#buffer.length > keptMax) this.#replaceBuffer(new Uint8Array(1024));
  }

  value(value: CborValue): void {
    switch (typeof value) {
      case 'number':
      case 'bigint':
        this.#integer(value);
        break;
      case 'string':
        this.#text(value);
        break;
      case 'boolean':
        this.#byte(value ? 0xf5 : 0xf4);
        break;
      case 'object':
        this.#object(value);
        break;
      default:
        throw new TypeError(`CBOR has no encoding for ${typeof value}`);
    }
  }

  #object(value: Exclude<CborValue, number | bigint | string | boolean>): void {
    if (value === null) {
      this.#byte(0xf6);
    } else if (value instanceof Uint8Array) {
      this.#head(2, value.length);
      this.#append(value);
    } else if (Array.isArray(value)) {
      this.#head(4, value.length);
      for (const item of value) this.value(item);
    } else if (value instanceof Map) {
      this.#map(value);
    } else if (value instanceof Tag) {
      this.#head(6, value.tag);
      this.value(value.value);
    } else {
      throw new TypeError('CBOR has no encoding for this object; maps are Map');
    }
  }

  /** Writes the entries as they come, and starts again in sorted order where they are not. */
  #map(map: CborMap): void {
    this.#head(5, map.size);
    const from = this.#length;
    let previousFrom = from;
    let previousTo = from;
    for (const [key, value] of map) {
      const at = this.#length;
      this.#key(key);
      const order = this.#compare(previousFrom, previousTo, at, this.#length);
      if (order === 0) throw new TypeError('duplicate map key');
      if (order > 0) {
        this.#buffer.fill(0, from, this.#length);
        this.#length = from;
        this.#sortedEntries(map);
        return;
      }
      previousFrom = at;
      previousTo = this.#length;
      this.value(value);
    }
  }

  /** Bytewise lexicographic order of two parts of the buffer. */
  #compare(aFrom: number, aTo: number, bFrom: number, bTo: number): number {
    const shorter = Math.min(aTo - aFrom, bTo - bFrom);
    for (let i = 0; i < shorter; i++) {
      const difference = this.#buffer[aFrom + i]! - this.#buffer[bFrom + i]!;
      if (difference !== 0) return difference;
    }
    return aTo - aFrom - (bTo - bFrom);
  }

  #sortedEntries(map: CborMap): void {
    const entries = [...map].map(([key, value]) => {
      const at = this.#length;
      this.#key(key);
      const encoded = this.#buffer.slice(at, this.#length);
      this.#length = at;
      return { encoded, value };
    });
    entries.sort((a, b) => compareBytes(a.encoded, b.encoded));
    entries.forEach(({ encoded, value }, i) => {
      if (i > 0 && compareBytes(entries[i - 1]!.encoded, encoded) === 0) {
        throw new TypeError('duplicate map key');
      }
      this.#append(encoded);
      this.value(value);
    });
  }

  #key(key: CborKey): void {
    if (typeof key === 'string') this.#text(key);
    else if (typeof key === 'number' || typeof key === 'bigint') this.#integer(key);
    else throw new TypeError('map keys are integers or texts');
  }

  #text(text: string): void {
    if (this.#ascii(text)) return;
    if (text.startsWith('\ufeff') || /\p{Surrogate}/u.test(text)) {
      throw new TypeError('text with a byte order mark or a lone surrogate');
    }
    const bytes = utf8(text);
    this.#head(3, bytes.length);
    this.#append(bytes);
  }

  /** Most texts are short names: a loop costs a fifth of the platform's encoder (measured). */
  #ascii(text: string): boolean {
    const { length } = text;
    if (length > asciiMax) return false;
    for (let i = 0; i < length; i++) if (text.charCodeAt(i) > 0x7f) return false;
    this.#head(3, length);
    this.#ensure(length);
    for (let i = 0; i < length; i++) this.#buffer[this.#length + i] = text.charCodeAt(i);
    this.#length += length;
    return true;
  }

  #integer(value: number | bigint): void {
    if (typeof value === 'number' && !Number.isSafeInteger(value)) {
      throw new TypeError('not a safe integer; use bigint');
    }
    const argument = value >= 0 ? value : typeof value === 'number' ? -1 - value : -1n - value;
    if (argument > maxUint64) throw new TypeError('integer beyond 64 bits');
    this.#head(value < 0 ? 1 : 0, argument);
  }

  #head(major: number, argument: number | bigint): void {
    const first = major << 5;
    this.#ensure(9);
    const at = this.#length;
    if (argument < 24) {
      this.#byte(first | Number(argument));
    } else if (argument < 0x100) {
      this.#byte(first | 24);
      this.#byte(Number(argument));
    } else if (argument < 0x1_0000) {
      this.#byte(first | 25);
      this.#view.setUint16(at + 1, Number(argument));
      this.#length = at + 3;
    } else if (argument < 0x1_0000_0000) {
      this.#byte(first | 26);
      this.#view.setUint32(at + 1, Number(argument));
      this.#length = at + 5;
    } else {
      this.#byte(first | 27);
      if (typeof argument === 'bigint') this.#view.setBigUint64(at + 1, argument);
      else this.#safeInteger(at + 1, argument);
      this.#length = at + 9;
    }
  }

  /** A time costs a third as much without BigInt. */
  #safeInteger(at: number, value: number): void {
    this.#view.setUint32(at, Math.floor(value / 2 ** 32));
    this.#view.setUint32(at + 4, value % 2 ** 32);
  }

  #byte(byte: number): void {
    this.#ensure(1);
    this.#buffer[this.#length++] = byte;
  }

  #append(bytes: Uint8Array): void {
    this.#ensure(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #ensure(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer.fill(0);
    this.#replaceBuffer(grown);
  }

  #replaceBuffer(buffer: Uint8Array<ArrayBuffer>): void {
    this.#buffer = buffer;
    this.#view = new DataView(buffer.buffer);
  }
}
