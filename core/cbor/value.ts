/** The CBOR (RFC 8949) that CVMP speaks: no floats, no `undefined`, no simple values of its own. */

/** A map key: an integer label or a text label. */
export type CborKey = number | bigint | string;

/**
 * Integers within 2^53 are numbers, others within 64 bits are bigints; a decoder never gives a
 * bigint for what fits a number.
 */
export type CborValue =
  | number
  | bigint
  | string
  | boolean
  | null
  | Uint8Array
  | Tag
  | readonly CborValue[]
  | CborMap;

export type CborMap = ReadonlyMap<CborKey, CborValue>;

/** A tagged value (RFC 8949 s.3.4). */
export class Tag {
  readonly tag: number;
  readonly value: CborValue;

  constructor(tag: number, value: CborValue) {
    this.tag = tag;
    this.value = value;
  }
}
