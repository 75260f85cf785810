import type { EcCurve, HashName } from '../crypto.js';
import { CvmpError } from '../errors.js';

/** All that is known about each cipher suite (protocol.md s.6.2). Both seal with AES-256-GCM. */
export interface Suite {
  /** Number on the wire (cvmp.v1.Suite). */
  readonly id: number;
  readonly name: string;
  /** Of the ephemeral keys. */
  readonly curve: EcCurve;
  /** Of transcript and key schedule. */
  readonly hash: HashName;
}

export const suites: readonly Suite[] = [
  { id: 1, name: 'P-256, SHA-256, A256GCM', curve: 'P-256', hash: 'sha256' },
  { id: 2, name: 'P-384, SHA-384, A256GCM', curve: 'P-384', hash: 'sha384' },
];

/** @throws CvmpError SUITE */
export function suiteOf(id: number): Suite {
  const suite = suites.find((row) => row.id === id);
  if (suite === undefined) throw new CvmpError('SUITE', `unknown suite ${id}`, { field: 'suite' });
  return suite;
}

/** The highest number in both lists, or undefined. */
export function highestCommon(a: readonly number[], b: readonly number[]): number | undefined {
  const common = a.filter((n) => b.includes(n));
  return common.length === 0 ? undefined : Math.max(...common);
}
