import { crypto } from '#crypto';
import { fromHex, fromUtf8, toHex, utf8 } from '../../bytes.js';
import { CvmpError } from '../../errors.js';

/** Intel's signed JSON: `{"tcbInfo": {...}, "signature": "hex"}`. Parsed, not trusted. */
export interface SignedJson {
  /** The value that was signed, parsed from exactly {@link signedBytes}. */
  readonly value: unknown;
  /** The exact text of the value; it is never written again. */
  readonly signedBytes: Uint8Array;
  /** Raw r || s on P-256 (64 bytes). */
  readonly signature: Uint8Array;
}

/** No TCB Info is longer; one with 40 levels has 60 kB. */
const bytesMax = 256 * 1024;

const brace = 0x7b;
const quote = 0x22;
const backslash = 0x5c;

/**
 * Cuts the signed value out of Intel's JSON, so that the bytes verified are the bytes read.
 * @param member name of the signed member
 * @throws CvmpError MALFORMED, SIZE
 */
export function parseSignedJson(bytes: Uint8Array, member: string): SignedJson {
  if (bytes.length > bytesMax) {
    throw new CvmpError('SIZE', `${member} has ${bytes.length} bytes, at most ${bytesMax}`);
  }
  const outer = parseJson(bytes, member);
  const keys = isObject(outer) ? Object.keys(outer) : [];
  if (!isObject(outer) || keys.length !== 2 || !isObject(outer[member])) {
    throw malformed(member, `is not an object of ${member} and signature`);
  }
  const signature = outer.signature;
  if (typeof signature !== 'string') throw malformed(member, 'has no signature');
  const signatureBytes = fromHex(signature, `${member}.signature`);
  if (signatureBytes.length !== 64) throw malformed(member, 'has a signature of another length');
  const signedBytes = signedTextOf(bytes, member);
  return { value: parseJson(signedBytes, member), signedBytes, signature: signatureBytes };
}

/**
 * The bytes of the member's value: from the first brace after its name to the one that closes it.
 * Where another text than the member's value were cut out, the signature would not verify over it.
 */
function signedTextOf(bytes: Uint8Array, member: string): Uint8Array {
  let depth = 0;
  let start = -1;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === quote) {
      at = endOfString(bytes, at);
    } else if (byte === brace) {
      depth += 1;
      if (depth === 2 && start < 0) start = at;
    } else if (byte === brace + 2) {
      depth -= 1;
      if (depth === 1 && start >= 0) return bytes.slice(start, at + 1);
    }
  }
  throw malformed(member, 'has no signed value');
}

function endOfString(bytes: Uint8Array, from: number): number {
  let at = from + 1;
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
  return at;
}

function parseJson(bytes: Uint8Array, member: string): unknown {
  try {
    return JSON.parse(fromUtf8(bytes, member));
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    throw new CvmpError('MALFORMED', `${member} is not JSON`, { field: member, cause });
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(field: string, what: string): CvmpError {
  return new CvmpError('MALFORMED', `${field} ${what}`, { field });
}

/** More TCB Infos and QE Identities than this are not remembered. */
const rememberedMax = 64;

/**
 * Statements whose signature was verified, by digest of the document: a verifier shows them with
 * every quote. Their dates are judged every time.
 */
const remembered = new Map<string, SignedJson>();

/** Parses a document, or gives the one that was verified before. @throws as parseSignedJson */
export function knownSignedJson(bytes: Uint8Array, member: string): SignedJson {
  return remembered.get(digestOf(bytes, member)) ?? parseSignedJson(bytes, member);
}

/** Remembers a statement after its signature was verified. */
export function rememberSignedJson(document: Uint8Array, member: string, json: SignedJson): void {
  remembered.set(digestOf(document, member), json);
  for (const oldest of remembered.keys()) {
    if (remembered.size <= rememberedMax) break;
    remembered.delete(oldest);
  }
}

function digestOf(bytes: Uint8Array, member: string): string {
  return toHex(crypto.hash('sha256', utf8(member), bytes));
}

/** Reads members of one JSON object; every accessor demands its member and names it in errors. */
export class JsonReader {
  readonly #object: Record<string, unknown>;
  readonly #path: string;

  /** @throws CvmpError MALFORMED unless `value` is an object */
  constructor(value: unknown, path: string) {
    if (!isObject(value)) throw malformed(path, 'is not an object');
    this.#object = value;
    this.#path = path;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#object, name);
  }

  text(name: string): string {
    const value = this.#member(name);
    if (typeof value !== 'string') throw malformed(this.path(name), 'is not a text');
    return value;
  }

  integer(name: string, max: number): number {
    const value = this.#member(name);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
      throw malformed(this.path(name), `is not an integer from 0 to ${max}`);
    }
    return value;
  }

  /** Hex of exactly `length` bytes, in either case. */
  hex(name: string, length: number): Uint8Array {
    const bytes = fromHex(this.text(name), this.path(name));
    if (bytes.length !== length) throw malformed(this.path(name), `is not of ${length} bytes`);
    return bytes;
  }

  /** RFC 3339 in UTC without fractions, as Intel writes it; milliseconds since 1970. */
  time(name: string): number {
    const text = this.text(name);
    const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text);
    const at = isTime ? Date.parse(text) : Number.NaN;
    if (Number.isNaN(at)) throw malformed(this.path(name), 'is not a time');
    return at;
  }

  object(name: string): JsonReader {
    return new JsonReader(this.#member(name), this.path(name));
  }

  /** Each element by `read`; at most `max` of them. */
  list<T>(name: string, max: number, read: (value: unknown, path: string) => T): T[] {
    const value = this.#member(name);
    if (!Array.isArray(value)) throw malformed(this.path(name), 'is not a list');
    if (value.length > max) {
      throw new CvmpError('SIZE', `${this.path(name)} has ${value.length} elements`, {
        field: this.path(name),
      });
    }
    return value.map((item, i) => read(item, `${this.path(name)}[${i}]`));
  }

  path(name: string): string {
    return `${this.#path}.${name}`;
  }

  #member(name: string): unknown {
    if (!this.has(name)) throw malformed(this.path(name), 'is missing');
    return this.#object[name];
  }
}
