import { decode } from '../cbor/decode.js';
import { asArray } from '../cbor/read.js';
import { type CborValue, Tag } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import type { HeaderRules } from './headers.js';

/** CBOR tags of the COSE messages (RFC 9052 s.2). */
export const coseTag = {
  encrypt0: 16,
  mac0: 17,
  sign1: 18,
  encrypt: 96,
  mac: 97,
  sign: 98,
} as const;

export interface ParseRules extends HeaderRules {
  /** Whether the message carries its CBOR tag; `required` unless told. */
  readonly tag?: 'required' | 'optional' | 'forbidden';
  /** 1 MiB unless told. */
  readonly maxBytes?: number;
  /** The protected `typ` (RFC 9596) that it must have, so that no object passes for another. */
  readonly typ?: string;
}

/**
 * The elements of one COSE message.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE
 */
export function messageElements(
  bytes: Uint8Array,
  tag: number,
  length: number,
  field: string,
  rules: ParseRules,
): readonly CborValue[] {
  const wanted = rules.tag ?? 'required';
  const value = decode(bytes, {
    field,
    canonical: rules.canonical ?? true,
    tags: wanted === 'forbidden' ? [] : [tag],
    ...(rules.maxBytes === undefined ? {} : { maxBytes: rules.maxBytes }),
  });
  if (value instanceof Tag) return asArray(value.value, field, { length });
  if (wanted === 'required') {
    throw new CvmpError('MALFORMED', `${field} lacks its CBOR tag ${tag}`, { field });
  }
  return asArray(value, field, { length });
}
