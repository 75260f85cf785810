import { toHex } from '../../bytes.js';
import type { Digest, Identifier } from '../identifiers.js';
import type { Measurement } from '../measurement.js';
import type { Environment } from '../triples.js';

/** A reference triple with what the importer needs of its surroundings. */
export interface ReferenceTriple {
  readonly environment: Environment;
  readonly measurements: readonly Measurement[];
  /** Of the manifest. */
  readonly profile: string | undefined;
  /** For people: the tag that it is from. */
  readonly name: string;
  /** Security version that the manifest endorses for a measurement, 0 where it endorses none. */
  readonly svnOf: (digest: Uint8Array) => number;
}

/** IANA ids and names of the hashes that evidence is measured with, by the length of the digest. */
const hashIds: Readonly<Record<number, readonly (number | string)[]>> = {
  32: [1, 'sha-256', 'sha256'],
  48: [7, 'sha-384', 'sha384'],
  64: [8, 'sha-512', 'sha512'],
};

/** Digests of a SHA-2 hash of this many bytes. */
export function sha2(digests: readonly Digest[] | undefined, length: number): Uint8Array[] {
  return (digests ?? [])
    .filter(({ alg, value }) => value.length === length && hashIds[length]?.includes(alg))
    .map(({ value }) => value);
}

/** Largest SVN that a policy can state. */
const svnMax = 0xffff_ffff;

/** The SVN stated beside a measurement, or endorsed for it. */
export function imageSvnOf(
  { svnOf }: ReferenceTriple,
  { values: { svn } }: Measurement,
  digest: Uint8Array,
): number {
  const stated = svn === undefined || svn.value > svnMax ? 0 : Number(svn.value);
  return Math.max(stated, svnOf(digest));
}

/** An identifier as it is compared and shown. */
export function textOf(id: Identifier | undefined): string {
  if (id === undefined) return '';
  if (id.type === 'key' || id.type === 'psa-refval-id') return '';
  return id.value instanceof Uint8Array ? toHex(id.value) : String(id.value);
}

/** A name for a reference, as long as a policy admits. */
export function nameOf({ name }: ReferenceTriple, { values }: Measurement): string {
  const version = values.version?.version;
  return [values.name ?? name, version].filter(Boolean).join(' ').slice(0, 128);
}

/** An unsigned number in big-endian order, as the profile for SNP writes words. */
export function wordOf(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`);
}
