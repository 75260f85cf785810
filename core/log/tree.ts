import { crypto } from '#crypto';
import { CvmpError } from '../errors.js';

// The Merkle tree of RFC 9162 s.2.1 over SHA-256. Sizes and positions are numbers up to 2^48, so
// they are halved by arithmetic: bit operators would cut them to 32 bits.

/** Leaves that a log may have. */
export const leavesMax = 2 ** 48;
export const digestLength = 32;

const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

/** A complete subtree: leaves `index * 2^level` up to the next one. */
export interface NodeAt {
  readonly level: number;
  readonly index: number;
}

/** SHA-256 of 0x00 and the leaf's content. */
export function leafDigest(content: Uint8Array): Uint8Array {
  return crypto.hash('sha256', leafPrefix, content);
}

/** SHA-256 of 0x01 and both children. */
export function nodeDigest(left: Uint8Array, right: Uint8Array): Uint8Array {
  return crypto.hash('sha256', nodePrefix, left, right);
}

/** Root of the log without leaves. */
export function emptyRoot(): Uint8Array {
  return crypto.hash('sha256', new Uint8Array());
}

/**
 * What an appender needs of a tree: its size and the roots of the complete subtrees that it falls
 * into, at most 48. Never changed; {@link append} gives another one.
 */
export interface Frontier {
  readonly size: number;
  /** By level; undefined where the size has no such bit. */
  readonly peaks: readonly (Uint8Array | undefined)[];
}

export const emptyFrontier: Frontier = { size: 0, peaks: [] };

/**
 * The frontier with more leaves.
 * @param leaves their digests
 * @param completed told of every subtree that this completes, leaves included
 * @throws CvmpError SIZE
 */
export function append(
  { size, peaks }: Frontier,
  leaves: readonly Uint8Array[],
  completed?: (level: number, index: number, digest: Uint8Array) => void,
): Frontier {
  if (size + leaves.length > leavesMax) throw new CvmpError('SIZE', 'the log is full');
  const next = [...peaks];
  let at = size;
  for (const leaf of leaves) {
    let digest = leaf;
    let index = at;
    let level = 0;
    completed?.(level, index, digest);
    for (; index % 2 === 1; level++) {
      digest = nodeDigest(next[level]!, digest);
      next[level] = undefined;
      index = (index - 1) / 2;
      completed?.(level + 1, index, digest);
    }
    next[level] = digest;
    at += 1;
  }
  return { size: at, peaks: next };
}

/** Root of the tree with this frontier (RFC 9162 s.2.1.1). */
export function rootOf({ size, peaks }: Frontier): Uint8Array {
  if (size === 0) return emptyRoot();
  let root: Uint8Array | undefined;
  for (const peak of peaks) {
    if (peak !== undefined) root = root === undefined ? peak : nodeDigest(peak, root);
  }
  return root!;
}

/** The complete subtrees that leaves `begin` up to `end` fall into, as the tree divides them. */
export function subtrees(begin: number, end: number): readonly NodeAt[] {
  const nodes: NodeAt[] = [];
  for (let at = begin; at < end; ) {
    const level = floorLog2(end - at);
    nodes.push({ level, index: at / 2 ** level });
    at += 2 ** level;
  }
  return nodes;
}

/** Root of a complete subtree, given the digests of one of its levels. */
export function subtreeRoot(digests: readonly Uint8Array[]): Uint8Array {
  return rootOf(append(emptyFrontier, digests));
}

/** Exact for every size; the logarithm itself is rounded. */
export function floorLog2(n: number): number {
  const level = Math.floor(Math.log2(n));
  return 2 ** level > n ? level - 1 : level;
}

/** Digest over {@link subtrees}, given theirs in order: each is greater than all after it. */
export function fold(digests: readonly Uint8Array[]): Uint8Array {
  return digests.reduceRight((right, left) => nodeDigest(left, right));
}
