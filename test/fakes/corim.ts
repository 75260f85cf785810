import { encode } from '#core/cbor/encode.js';
import { type CborKey, type CborValue, Tag } from '#core/cbor/value.js';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';

/** A CBOR map from pairs. */
export const map = (...entries: readonly (readonly [CborKey, CborValue])[]) => new Map(entries);

/** BER content octets of an OID, under its tag. */
export function oid(dotted: string): Tag {
  const [a = 0, b = 0, ...rest] = dotted.split('.').map(Number);
  const octets = [40 * a + b, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift((left & 0x7f) | 0x80);
    }
    return groups;
  });
  return new Tag(111, Uint8Array.from(octets));
}

export const uuid = (fill: number) => new Uint8Array(16).fill(fill);
export const digest = (fill: number, length = 48) => new Uint8Array(length).fill(fill);

/** `[hash, value]`; the hash by the length of the value. */
export function hashed(value: Uint8Array): CborValue {
  const alg = { 32: 1, 48: 7, 64: 8 }[value.length] ?? 1;
  return [alg, value];
}

/** A measurement-map. */
export function measured(
  values: readonly (readonly [CborKey, CborValue])[],
  key?: CborValue,
  authorizedBy?: CborValue,
): CborValue {
  return map(
    ...(key === undefined ? [] : ([[0, key]] as const)),
    [1, map(...values)],
    ...(authorizedBy === undefined ? [] : ([[2, authorizedBy]] as const)),
  );
}

/** An environment by its class-id, or by vendor and model. */
export function environment(
  named: { readonly classId?: Tag; readonly vendor?: string; readonly model?: string },
  instance?: CborValue,
): CborValue {
  const { classId, vendor, model } = named;
  const entries: [CborKey, CborValue][] = [];
  if (classId !== undefined) entries.push([0, classId]);
  if (vendor !== undefined) entries.push([1, vendor]);
  if (model !== undefined) entries.push([2, model]);
  return map([0, map(...entries)], ...(instance === undefined ? [] : ([[1, instance]] as const)));
}

/** A concise-mid-tag with these triples. */
export function comid(
  triples: readonly (readonly [CborKey, CborValue])[],
  more: readonly (readonly [CborKey, CborValue])[] = [],
): CborValue {
  return map([1, map([0, 'test-comid'])], ...more, [4, map(...triples)]);
}

/** A CoMID as a tag of a manifest. */
export const tagged = (content: CborValue, tag = 506) => new Tag(tag, encode(content));

/** Seconds under tag 1; the writer has no place for it among its own values. */
export const time = (seconds: number) => new Tag(1, seconds);

export function validity(from: number, to: number): CborValue {
  return map([0, time(from)], [1, time(to)]);
}

/** An unsigned manifest. */
export function corim(
  tags: readonly CborValue[],
  more: readonly (readonly [CborKey, CborValue])[] = [],
): Uint8Array {
  return encode(new Tag(501, map([0, 'test-corim'], [1, tags], ...more)));
}

export interface CorimSigning {
  /** Of the signature, seconds. */
  readonly from?: number;
  readonly to?: number;
  readonly protected?: readonly (readonly [CborKey, CborValue])[];
  readonly unprotected?: readonly (readonly [CborKey, CborValue])[];
  /** Leave the statement of the signer out. */
  readonly anonymous?: boolean;
}

/** A signed manifest (draft-ietf-rats-corim s.4.2). */
export function signedCorim(
  key: EcPrivateKey,
  payload: Uint8Array,
  options: CorimSigning = {},
): Promise<Uint8Array> {
  const meta = map(
    [0, map([0, 'Test Signer'])],
    [1, validity(options.from ?? 0, options.to ?? 4_000_000_000)],
  );
  const entries: [CborKey, CborValue][] = [[3, 'application/rim+cbor']];
  if (options.anonymous !== true) entries.push([8, encode(meta)]);
  return sign1(key, payload, {
    protected: new Map([...entries, ...(options.protected ?? [])]),
    unprotected: new Map(options.unprotected ?? []),
  });
}
