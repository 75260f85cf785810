import { compareBytes, utf8 } from '../bytes.js';
import { type CborKey, type CborMap, type CborValue, Tag } from './value.js';

const maxUint64 = 0xffff_ffff_ffff_ffffn;
const two32 = 0x1_0000_0000;

/**
 * Deterministic encoding (RFC 8949 s.4.2.1): shortest heads, definite lengths, map keys in bytewise
 * order of their encodings.
 * @throws TypeError on what CVMP never encodes: floats, integers beyond 64 bits, duplicate keys,
 *   lone surrogates, a text that begins with a byte order mark, other types.
 */
export function encode(value: CborValue): Uint8Array {
  const writer = new CborWriter();
  writer.value(value);
  return writer.bytes();
}

/** Appends deterministic CBOR to a growing buffer. */
class CborWriter {
  #buffer = new Uint8Array(256);
  #length = 0;

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
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
        this.#append([value ? 0xf5 : 0xf4]);
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
      this.#append([0xf6]);
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

  #map(map: CborMap): void {
    const entries = [...map].map(([key, value]) => ({ key: encodeKey(key), value }));
    entries.sort((a, b) => compareBytes(a.key, b.key));
    this.#head(5, entries.length);
    let previous: Uint8Array | undefined;
    for (const { key, value } of entries) {
      if (previous !== undefined && compareBytes(previous, key) === 0) {
        throw new TypeError('duplicate map key');
      }
      previous = key;
      this.#append(key);
      this.value(value);
    }
  }

  #text(text: string): void {
    if (text.startsWith('\ufeff') || /\p{Surrogate}/u.test(text)) {
      throw new TypeError('text with a byte order mark or a lone surrogate');
    }
    const bytes = utf8(text);
    this.#head(3, bytes.length);
    this.#append(bytes);
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
    if (argument < 24) {
      this.#append([first | Number(argument)]);
      return;
    }
    const width = argument < 0x100 ? 1 : argument < 0x1_0000 ? 2 : argument < two32 ? 4 : 8;
    const head = new Uint8Array(1 + width);
    const view = new DataView(head.buffer);
    head[0] = first | (24 + Math.log2(width));
    if (width === 1) head[1] = Number(argument);
    else if (width === 2) view.setUint16(1, Number(argument));
    else if (width === 4) view.setUint32(1, Number(argument));
    else view.setBigUint64(1, BigInt(argument));
    this.#append(head);
  }

  #append(bytes: ArrayLike<number>): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
      grown.set(this.#buffer.subarray(0, this.#length));
      // What was encoded may be secret; do not leave copies behind.
      this.#buffer.fill(0);
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = needed;
  }
}

function encodeKey(key: CborKey): Uint8Array {
  if (typeof key === 'object') throw new TypeError('map keys are integers or texts');
  return encode(key);
}
