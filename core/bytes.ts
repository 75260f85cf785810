import { CvmpError, type ErrorCode } from './errors.js';

/** Joins byte strings. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * Compares in time that depends on the lengths only.
 * Lengths are not secret anywhere in CVMP.
 */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let diff = 0;
  for (let i = 0; i < a.length; i++) diff |= a[i]! ^ b[i]!;
  return diff === 0;
}

/** Bytewise lexicographic order (RFC 8949 s.4.2.1). */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!;
  }
  return a.length - b.length;
}

/** A reversed copy, also of a Buffer: between little-endian and big-endian integers. */
export function reversed(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes).reverse();
}

export function isZero(bytes: Uint8Array): boolean {
  let any = 0;
  for (const b of bytes) any |= b;
  return any === 0;
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  let out = '';
  for (const b of bytes) out += hexPairs[b];
  return out;
}

/** @throws CvmpError MALFORMED unless `text` is an even number of hex digits. */
export function fromHex(text: string, field?: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new CvmpError('MALFORMED', 'not an even number of hex digits', named(field));
  }
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return out;
}

const base64Alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** base64url without padding (RFC 4648 s.5). */
export function toBase64Url(bytes: Uint8Array): string {
  let out = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const n = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const chars = Math.min(bytes.length - i, 3) + 1;
    for (let c = 0; c < chars; c++) out += base64Alphabet[(n >> (18 - 6 * c)) & 63];
  }
  return out;
}

/**
 * Strict: no padding, no other alphabet, unused bits zero.
 * @throws CvmpError MALFORMED
 */
export function fromBase64Url(text: string, field?: string): Uint8Array {
  const bad = () => new CvmpError('MALFORMED', 'not base64url without padding', named(field));
  if (text.length % 4 === 1) throw bad();
  const out = new Uint8Array(Math.floor((text.length * 3) / 4));
  let acc = 0;
  let bits = 0;
  let at = 0;
  for (const char of text) {
    const value = base64Alphabet.indexOf(char);
    if (value < 0) throw bad();
    acc = ((acc << 6) | value) & 0xffffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (acc >> bits) & 0xff;
    }
  }
  if ((acc & ((1 << bits) - 1)) !== 0) throw bad();
  return out;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** @throws CvmpError MALFORMED where the bytes are not UTF-8. */
export function fromUtf8(bytes: Uint8Array, field?: string): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new CvmpError('MALFORMED', 'not UTF-8', { cause, ...named(field) });
  }
}

function named(field: string | undefined): { field?: string } {
  return field === undefined ? {} : { field };
}

/** Reads fixed layouts; every read is bounds-checked and names what it read. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  readonly #code: ErrorCode;
  offset = 0;

  constructor(
    bytes: Uint8Array,
    endian: 'little' | 'big',
    options: { code?: ErrorCode; offset?: number } = {},
  ) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#littleEndian = endian === 'little';
    this.#code = options.code ?? 'MALFORMED';
    this.offset = options.offset ?? 0;
  }

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  u8(field: string): number {
    return this.#view.getUint8(this.#take(1, field));
  }

  u16(field: string): number {
    return this.#view.getUint16(this.#take(2, field), this.#littleEndian);
  }

  u32(field: string): number {
    return this.#view.getUint32(this.#take(4, field), this.#littleEndian);
  }

  u64(field: string): bigint {
    return this.#view.getBigUint64(this.#take(8, field), this.#littleEndian);
  }

  /** A copy of the next `length` bytes. */
  take(length: number, field: string): Uint8Array {
    const at = this.#take(length, field);
    // Not slice: a Buffer's own shares its memory.
    return new Uint8Array(this.bytes.subarray(at, at + length));
  }

  /** The next `length` bytes where they are: a twentieth of the time of a long copy. */
  view(length: number, field: string): Uint8Array {
    const at = this.#take(length, field);
    return this.bytes.subarray(at, at + length);
  }

  /** Passes over the next `length` bytes. */
  skip(length: number, field: string): void {
    this.#take(length, field);
  }

  /** @throws CvmpError unless everything was read. */
  end(field: string): void {
    if (this.remaining !== 0) {
      throw new CvmpError(this.#code, `${this.remaining} bytes follow the end of ${field}`, {
        field,
      });
    }
  }

  #take(length: number, field: string): number {
    if (length < 0 || this.remaining < length) {
      throw new CvmpError(this.#code, `${field} needs ${length} bytes, ${this.remaining} remain`, {
        field,
      });
    }
    const at = this.offset;
    this.offset += length;
    return at;
  }
}
