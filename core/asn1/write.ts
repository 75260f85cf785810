import { compareBytes, concat, utf8 } from '../bytes.js';
import { explicitTag, tag } from './tags.js';

/** Writers of DER elements (X.690 s.10); each returns the whole TLV. */

/** An element of this tag around `contents`. */
export function element(octet: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const body = concat(...contents);
  const length: number[] = [];
  if (body.length < 0x80) {
    length.push(body.length);
  } else {
    for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256))
      length.unshift(rest % 256);
    length.unshift(0x80 | length.length);
  }
  return concat(Uint8Array.of(octet, ...length), body);
}

export function sequence(...elements: readonly Uint8Array[]): Uint8Array {
  return element(tag.sequence, ...elements);
}

/** SET OF, in the order that DER asks. */
export function setOf(...elements: readonly Uint8Array[]): Uint8Array {
  return element(tag.set, ...[...elements].sort(compareBytes));
}

export function explicit(n: number, ...contents: readonly Uint8Array[]): Uint8Array {
  return element(explicitTag(n), ...contents);
}

/** A non-negative INTEGER, given as number or as big-endian magnitude. */
export function integer(value: number | Uint8Array): Uint8Array {
  let bytes = typeof value === 'number' ? magnitude(value) : value;
  while (bytes.length > 1 && bytes[0] === 0) bytes = bytes.subarray(1);
  if (bytes.length === 0) bytes = Uint8Array.of(0);
  const sign = bytes[0]! >= 0x80 ? [0] : [];
  return element(tag.integer, Uint8Array.from(sign), bytes);
}

function magnitude(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`not an unsigned: ${value}`);
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Uint8Array.from(bytes);
}

export function boolean(value: boolean): Uint8Array {
  return element(tag.boolean, Uint8Array.of(value ? 0xff : 0));
}

export function nullValue(): Uint8Array {
  return element(tag.null);
}

export function octetString(bytes: Uint8Array): Uint8Array {
  return element(tag.octetString, bytes);
}

/** BIT STRING whose last byte has `unused` unused bits, which are zero. */
export function bitString(bytes: Uint8Array, unused = 0): Uint8Array {
  return element(tag.bitString, Uint8Array.of(unused), bytes);
}

/** OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const group = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      group.unshift(0x80 | (left % 128));
    }
    octets.push(...group);
  }
  return element(tag.oid, Uint8Array.from(octets));
}

export function utf8String(value: string): Uint8Array {
  return element(tag.utf8String, utf8(value));
}

export function printableString(value: string): Uint8Array {
  return element(tag.printableString, utf8(value));
}

export function ia5String(value: string): Uint8Array {
  return element(tag.ia5String, utf8(value));
}

/**
 * Time in the form that RFC 5280 s.4.1.2.5 asks: UTCTime until 2049, GeneralizedTime after.
 * @param at milliseconds since 1970; fractions of a second are dropped
 */
export function time(at: number): Uint8Array {
  const iso = new Date(at)
    .toISOString()
    .replace(/[-:T]/g, '')
    .replace(/\.\d+Z$/, 'Z');
  const year = Number(iso.slice(0, 4));
  return year >= 1950 && year < 2050
    ? element(tag.utcTime, utf8(iso.slice(2)))
    : element(tag.generalizedTime, utf8(iso));
}
