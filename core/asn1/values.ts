import { fromUtf8 } from '../bytes.js';
import type { CvmpError } from '../errors.js';
import { type DerElement, derError } from './read.js';
import { tag, tagName } from './tags.js';

/**
 * Strict readers of primitive elements (X.690 s.8, s.10, s.11).
 * All throw CvmpError MALFORMED, NOT_CANONICAL or SIZE, naming the element.
 */

function only(element: DerElement, expected: number): Uint8Array {
  if (element.tag !== expected) {
    const found = tagName(element.tag);
    throw derError('MALFORMED', element.path, `is ${found}, not ${tagName(expected)}`);
  }
  return element.contents;
}

/** Contents octets of an INTEGER: two's complement, big-endian, minimal. */
export function integerBytes(element: DerElement): Uint8Array {
  const bytes = only(element, tag.integer);
  const [first, second] = bytes;
  if (first === undefined) throw derError('MALFORMED', element.path, 'is empty');
  if (second !== undefined) {
    const padded = (first === 0 && second < 0x80) || (first === 0xff && second >= 0x80);
    if (padded) throw derError('NOT_CANONICAL', element.path, 'is padded');
  }
  return bytes;
}

/** Magnitude of a non-negative INTEGER, without the leading zero octet. */
export function unsignedBytes(element: DerElement): Uint8Array {
  const bytes = integerBytes(element);
  if (bytes[0]! >= 0x80) throw derError('MALFORMED', element.path, 'is negative');
  return bytes.length > 1 && bytes[0] === 0 ? bytes.subarray(1) : bytes;
}

/** A non-negative INTEGER of at most `max`, which is at most 2^48. */
export function unsignedInteger(element: DerElement, max: number): number {
  const bytes = unsignedBytes(element);
  let value = 0;
  if (bytes.length > 6) throw derError('SIZE', element.path, `is above ${max}`);
  for (const octet of bytes) value = value * 256 + octet;
  if (value > max) throw derError('SIZE', element.path, `is above ${max}`);
  return value;
}

export function boolean(element: DerElement): boolean {
  const bytes = only(element, tag.boolean);
  if (bytes.length !== 1) throw derError('MALFORMED', element.path, 'is not one byte');
  if (bytes[0] !== 0 && bytes[0] !== 0xff) {
    throw derError('NOT_CANONICAL', element.path, 'is neither 00 nor FF');
  }
  return bytes[0] === 0xff;
}

export function nullValue(element: DerElement): void {
  if (only(element, tag.null).length !== 0) {
    throw derError('MALFORMED', element.path, 'is a NULL with contents');
  }
}

export function octetString(element: DerElement): Uint8Array {
  return only(element, tag.octetString);
}

/** Bits of a BIT STRING; unused bits must be zero. */
export function bitString(element: DerElement): { bytes: Uint8Array; unused: number } {
  const contents = only(element, tag.bitString);
  const unused = contents[0];
  const bytes = contents.subarray(1);
  if (unused === undefined || unused > 7 || (unused > 0 && bytes.length === 0)) {
    throw derError('MALFORMED', element.path, 'has a wrong number of unused bits');
  }
  if (bytes.length > 0 && (bytes[bytes.length - 1]! & ((1 << unused) - 1)) !== 0) {
    throw derError('NOT_CANONICAL', element.path, 'has unused bits that are not zero');
  }
  return { bytes, unused };
}

/** A BIT STRING of whole bytes, as keys and signatures are. */
export function bitStringBytes(element: DerElement): Uint8Array {
  const { bytes, unused } = bitString(element);
  if (unused !== 0) throw derError('MALFORMED', element.path, 'is not a whole number of bytes');
  return bytes;
}

/** OBJECT IDENTIFIER in dotted form. */
export function oid(element: DerElement): string {
  const bytes = only(element, tag.oid);
  let text = '';
  let arc = 0;
  let fresh = true;
  for (const octet of bytes) {
    if (fresh && octet === 0x80) throw derError('NOT_CANONICAL', element.path, 'has a padded arc');
    if (arc >= 2 ** 41) throw derError('SIZE', element.path, 'has an arc above 2^48');
    arc = arc * 128 + (octet & 0x7f);
    fresh = (octet & 0x80) === 0;
    if (!fresh) continue;
    if (text === '') {
      const root = Math.min(Math.floor(arc / 40), 2);
      text = `${root}.${arc - 40 * root}`;
    } else {
      text += `.${arc}`;
    }
    arc = 0;
  }
  if (!fresh || text === '') throw derError('MALFORMED', element.path, 'is cut off');
  return text;
}

const printable = /^[A-Za-z0-9 '()+,\-./:=?]*$/;

/** A directory or IA5 string; control characters are refused. */
export function text(element: DerElement): string {
  const { contents, path } = element;
  const refuse = (why: string) => derError('MALFORMED', path, why);
  let value: string;
  switch (element.tag) {
    case tag.utf8String:
      value = fromUtf8(contents, path);
      break;
    case tag.printableString:
      value = ascii(contents, path);
      if (!printable.test(value)) throw refuse('has characters outside PrintableString');
      break;
    case tag.ia5String:
    case tag.teletexString:
      value = ascii(contents, path);
      break;
    default:
      throw refuse(`is ${tagName(element.tag)}, not a string`);
  }
  // A NUL or line end in a name has been used to make two readers see two names.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\u0000-\u001f\u007f]/.test(value)) throw refuse('has control characters');
  return value;
}

export function ia5String(element: DerElement): string {
  only(element, tag.ia5String);
  return text(element);
}

function ascii(bytes: Uint8Array, path: string): string {
  if (bytes.some((octet) => octet > 0x7f)) throw derError('MALFORMED', path, 'is not ASCII');
  return fromUtf8(bytes, path);
}

/** Characters of YYYYMMDDHHMMSSZ; UTCTime has two of the year. */
const timeLength = 15;
const monthLengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * UTCTime or GeneralizedTime as RFC 5280 s.4.1.2.5 restricts them: seconds, Zulu, no fraction.
 * @returns milliseconds since 1970-01-01T00:00:00Z
 */
export function time(element: DerElement): number {
  const isUtc = element.tag === tag.utcTime;
  const bytes = isUtc ? element.contents : only(element, tag.generalizedTime);
  const yearLength = isUtc ? 2 : 4;
  const read = (at: number, length: number) => digits(element, bytes, at, length);
  const at = (pair: number) => read(yearLength + 2 * pair, 2);
  if (bytes.length !== timeLength - 4 + yearLength) throw noTime(element);
  const written = read(0, yearLength);
  const year = !isUtc ? written : written < 50 ? 2000 + written : 1900 + written;
  const [month, day, hour, minute, second] = [at(0), at(1), at(2), at(3), at(4)];
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = (monthLengths[month - 1] ?? 0) + (month === 2 && isLeap ? 1 : 0);
  const isTime = day >= 1 && day <= days && hour < 24 && minute < 60 && second < 60;
  if (!isTime || bytes[bytes.length - 1] !== 0x5a) throw noTime(element);
  const value = new Date(0);
  // Date.UTC would take the year 50 for 1950.
  value.setUTCFullYear(year, month - 1, day);
  return value.setUTCHours(hour, minute, second);
}

function digits(element: DerElement, bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = at; i < at + length; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) throw noTime(element);
    value = 10 * value + digit;
  }
  return value;
}

function noTime({ contents, path }: DerElement): CvmpError {
  const written = String.fromCharCode(...contents.subarray(0, 24));
  return derError('MALFORMED', path, `is not a time: ${JSON.stringify(written)}`);
}
