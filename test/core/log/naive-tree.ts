import { concat } from '#core/bytes.js';
import type { ReadNodes } from '#core/log/proofs.js';
import { crypto } from '#crypto';

// RFC 9162 s.2.1 as it is written there, by recursion over the leaves: what core/log is held to.

const hash = (...parts: Uint8Array[]) => crypto.hash('sha256', concat(...parts));

/** Greatest power of two below n. */
function below(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** MTH(D_n) of leaf contents. */
export function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return hash();
  if (leaves.length === 1) return hash(Uint8Array.of(0), leaves[0]!);
  const k = below(leaves.length);
  return hash(Uint8Array.of(1), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

/** PATH(m, D_n). */
export function naiveInclusion(m: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length === 1) return [];
  const k = below(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m < k
    ? [...naiveInclusion(m, left), naiveRoot(right)]
    : [...naiveInclusion(m - k, right), naiveRoot(left)];
}

/** SUBPROOF(m, D_n, b). */
export function naiveConsistency(m: number, leaves: readonly Uint8Array[], b = true): Uint8Array[] {
  if (m === leaves.length) return b ? [] : [naiveRoot(leaves)];
  const k = below(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m <= k
    ? [...naiveConsistency(m, left, b), naiveRoot(right)]
    : [...naiveConsistency(m - k, right, false), naiveRoot(left)];
}

/** Nodes straight from the leaves. */
export function nodesOf(leaves: readonly Uint8Array[]): ReadNodes {
  return async (nodes) =>
    nodes.map(({ level, index }) => {
      const [begin, end] = [index * 2 ** level, (index + 1) * 2 ** level];
      if (end > leaves.length) throw new RangeError('a node that is not complete');
      return naiveRoot(leaves.slice(begin, end));
    });
}

/** Contents 0, 1, 2 ... as two bytes. */
export function leaves(count: number): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, i) => Uint8Array.of(i >> 8, i & 0xff));
}
