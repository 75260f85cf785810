import { type DerReader, derError } from '../asn1/read.js';
import { tag } from '../asn1/tags.js';
import { oid, text } from '../asn1/values.js';
import { compareBytes, equalBytes } from '../bytes.js';

/** A distinguished name (RFC 5280 s.4.1.2.4). */
export interface Name {
  /** The Name as received: names are compared by these bytes. */
  readonly der: Uint8Array;
  /** RFC 4514 text, last attribute first: `CN=SEV-VCEK,O=Advanced Micro Devices,...`. */
  readonly text: string;
  /** The only commonName, or undefined where there is none or more than one. */
  readonly commonName: string | undefined;
}

const attributeNames: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
};

/**
 * Reads the next element as a Name.
 * @throws CvmpError MALFORMED, NOT_CANONICAL
 */
export function readName(reader: DerReader, field: string): Name {
  const element = reader.element(tag.sequence, field);
  const rdns = reader.reader(element);
  const parts: string[] = [];
  const commonNames: string[] = [];
  while (!rdns.done) {
    const rdn = rdns.inside(tag.set, 'rdn');
    if (rdn.done) throw derError('MALFORMED', rdn.path, 'is empty');
    const attributes: string[] = [];
    let before: Uint8Array | undefined;
    while (!rdn.done) {
      const attribute = rdn.element(tag.sequence, 'attribute');
      if (before !== undefined && compareBytes(before, attribute.encoded) >= 0) {
        throw derError('NOT_CANONICAL', attribute.path, 'is out of order in its SET');
      }
      before = attribute.encoded;
      const inner = rdn.reader(attribute);
      const type = oid(inner.any('type'));
      const value = text(inner.any('value'));
      inner.end();
      if (attributeNames[type] === 'CN') commonNames.push(value);
      attributes.push(`${attributeNames[type] ?? type}=${escaped(value)}`);
    }
    parts.unshift(attributes.join('+'));
  }
  return {
    der: element.encoded,
    text: parts.join(','),
    commonName: commonNames.length === 1 ? commonNames[0] : undefined,
  };
}

/** Names are equal where their bytes are: what a CA issues it copies from its own certificate. */
export function sameName(a: Name, b: Name): boolean {
  return equalBytes(a.der, b.der);
}

const special = /[,+"\\<>;]|^[ #]| $/;

function escaped(value: string): string {
  if (!special.test(value)) return value;
  return value
    .replace(/[,+"\\<>;]/g, '\\$&')
    .replace(/^[ #]/, '\\$&')
    .replace(/ $/, '\\ ');
}
