import { fromHex, toHex } from '#core/bytes.js';
import { type CborKey, type CborValue, Tag } from '#core/cbor/value.js';
import { decodeManifest } from '#core/corim/tags.js';

/** A value of diagnostic notation: `<<...>>` is kept apart, for its encoding is not said. */
type Diagnostic =
  | Exclude<CborValue, Tag | readonly CborValue[] | ReadonlyMap<CborKey, CborValue>>
  | { readonly tag: number; readonly value: Diagnostic }
  | { readonly embedded: Diagnostic }
  | readonly Diagnostic[]
  | ReadonlyMap<CborKey, Diagnostic>;

/** Reads diagnostic notation (RFC 8949 s.8, RFC 8610 app. G). @throws Error where it is none */
export function parseDiagnostic(text: string): Diagnostic {
  const reader = new DiagnosticReader(text);
  const value = reader.value();
  reader.end();
  return value;
}

/** The first place where bytes and notation differ, or undefined. */
export function differsFrom(
  found: CborValue | undefined,
  said: Diagnostic,
  path = '$',
): string | undefined {
  if (typeof said !== 'object' || said === null || said instanceof Uint8Array) {
    return leaf(found) === leaf(said as CborValue) ? undefined : path;
  }
  if ('embedded' in said) {
    if (!(found instanceof Uint8Array)) return path;
    return differsFrom(decodeManifest(found, path), said.embedded, `${path}<<>>`);
  }
  if ('tag' in said) {
    if (!(found instanceof Tag) || found.tag !== said.tag) return path;
    return differsFrom(found.value, said.value, `${path}(${said.tag})`);
  }
  if (said instanceof Map) {
    if (!(found instanceof Map) || found.size !== said.size) return path;
    return first([...said], ([key, item]) =>
      found.has(key) ? differsFrom(found.get(key), item, `${path}.${key}`) : `${path}.${key}`,
    );
  }
  const items = said as readonly Diagnostic[];
  if (!Array.isArray(found) || found.length !== items.length) return path;
  return first([...items.entries()], ([i, item]) => differsFrom(found[i], item, `${path}[${i}]`));
}

function first<T>(items: readonly T[], read: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const found = read(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function leaf(value: CborValue | undefined): string {
  if (value instanceof Uint8Array) return `h'${toHex(value)}'`;
  return `${typeof value} ${String(value)}`;
}

const blank = /(?:\s|\/[^/]*\/|#[^\n]*)*/y;
const number = /-?(?:0x[0-9a-fA-F]+|\d+)/y;
const string = /"(?:[^"\\]|\\.)*"/y;
const bytes = /h'([0-9a-fA-F\s]*)'/y;
const word = /true|false|null/y;

class DiagnosticReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  end(): void {
    if (this.#at < this.#text.length) throw this.#wrong();
  }

  value(): Diagnostic {
    this.#skip(blank);
    const value = this.#bare();
    this.#skip(blank);
    return value;
  }

  #bare(): Diagnostic {
    if (this.#takes('{')) return this.#map();
    if (this.#takes('[')) return this.#list(']');
    if (this.#takes('<<')) {
      const [only, ...more] = this.#list('>>');
      if (only === undefined || more.length > 0) throw this.#wrong();
      return { embedded: only };
    }
    const text = this.#skip(string);
    if (text !== undefined) return JSON.parse(text[0]) as string;
    const hex = this.#skip(bytes);
    if (hex !== undefined) return fromHex(hex[1]!.replace(/\s/g, ''));
    const named = this.#skip(word);
    if (named !== undefined) return JSON.parse(named[0]) as boolean | null;
    const digits = this.#skip(number);
    if (digits === undefined) throw this.#wrong();
    const integer = BigInt(digits[0].replace(/^-/, '')) * (digits[0].startsWith('-') ? -1n : 1n);
    const plain = Number(integer);
    if (this.#takes('(')) {
      const [value, ...more] = this.#list(')');
      if (value === undefined || more.length > 0) throw this.#wrong();
      return { tag: plain, value };
    }
    return Number.isSafeInteger(plain) ? plain : integer;
  }

  #map(): Diagnostic {
    const map = new Map<CborKey, Diagnostic>();
    this.#skip(blank);
    while (!this.#takes('}')) {
      const key = this.value();
      if (typeof key !== 'number' && typeof key !== 'string' && typeof key !== 'bigint') {
        throw this.#wrong();
      }
      if (!this.#takes(':')) throw this.#wrong();
      map.set(key, this.value());
      this.#takes(',');
      this.#skip(blank);
    }
    return map;
  }

  #list(close: string): readonly Diagnostic[] {
    const items: Diagnostic[] = [];
    this.#skip(blank);
    while (!this.#takes(close)) {
      items.push(this.value());
      this.#takes(',');
      this.#skip(blank);
    }
    return items;
  }

  #takes(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  #skip(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text) ?? undefined;
    if (found !== undefined) this.#at += found[0].length;
    return found;
  }

  #wrong(): Error {
    return new Error(`no diagnostic notation at character ${this.#at}`);
  }
}
