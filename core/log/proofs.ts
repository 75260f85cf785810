import { equalBytes } from '../bytes.js';
import { CvmpError } from '../errors.js';
import {
  digestLength,
  floorLog2,
  fold,
  leavesMax,
  type NodeAt,
  nodeDigest,
  subtrees,
} from './tree.js';

/** Gives the digests of complete subtrees, in the order asked for. */
export type ReadNodes = (nodes: readonly NodeAt[]) => Promise<readonly Uint8Array[]>;

/** Hashes that a proof may have: two for each level. */
export const pathMax = 2 * 48;

type Range = readonly [begin: number, end: number];

/** Greatest power of two below `n`; n is at least 2. */
function split(n: number): number {
  const power = 2 ** floorLog2(n);
  return power === n ? n / 2 : power;
}

/** What an inclusion proof consists of (RFC 9162 s.2.1.3.1). */
function inclusionRanges(index: number, begin: number, end: number): Range[] {
  if (end - begin === 1) return [];
  const middle = begin + split(end - begin);
  return index < middle
    ? [...inclusionRanges(index, begin, middle), [middle, end]]
    : [...inclusionRanges(index, middle, end), [begin, middle]];
}

/** What a consistency proof consists of (RFC 9162 s.2.1.4.1). */
function consistencyRanges(first: number, begin: number, end: number, known: boolean): Range[] {
  if (first === end) return known ? [] : [[begin, end]];
  const middle = begin + split(end - begin);
  return first <= middle
    ? [...consistencyRanges(first, begin, middle, known), [middle, end]]
    : [...consistencyRanges(first, middle, end, false), [begin, middle]];
}

async function build(ranges: readonly Range[], read: ReadNodes): Promise<readonly Uint8Array[]> {
  const nodes = ranges.map(([begin, end]) => subtrees(begin, end));
  const digests = await read(nodes.flat());
  let at = 0;
  return nodes.map(({ length }) => {
    at += length;
    return fold(digests.slice(at - length, at));
  });
}

/**
 * Proves that a leaf is in the tree of a size.
 * @param index of the leaf, from 0
 * @throws CvmpError INVALID_FIELD where there is no such leaf
 */
export async function inclusionPath(
  index: number,
  size: number,
  read: ReadNodes,
): Promise<readonly Uint8Array[]> {
  if (!inTree(index, size)) throw outside('index', `there is no leaf ${index} of ${size}`);
  return build(inclusionRanges(index, 0, size), read);
}

/**
 * Proves that the tree of one size begins with the tree of another. Empty where the first is empty
 * or both are the same.
 * @throws CvmpError INVALID_FIELD where the first is greater
 */
export async function consistencyPath(
  first: number,
  second: number,
  read: ReadNodes,
): Promise<readonly Uint8Array[]> {
  if (!inTree(first, second + 1)) throw outside('first_size', `${first} is more than ${second}`);
  return first === 0 ? [] : build(consistencyRanges(first, 0, second, true), read);
}

/** Root of the tree of a size, for which `read` has every node. The size is at least 1. */
export async function rootAt(size: number, read: ReadNodes): Promise<Uint8Array> {
  return fold(await read(subtrees(0, size)));
}

/**
 * Whether a path proves the leaf to be in the tree (RFC 9162 s.2.1.3.2).
 * @param leaf digest of the leaf, 32 bytes
 * @param index of the leaf, from 0
 */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!inTree(index, size) || !isPath(path)) return false;
  let [fn, sn] = [index, size - 1];
  let digest = leaf;
  for (const p of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      digest = nodeDigest(p, digest);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      digest = nodeDigest(digest, p);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equalBytes(digest, root);
}

/** A size of the tree with its root. */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Whether a path proves that the second tree begins with the first (RFC 9162 s.2.1.4.2). */
export function verifyConsistency(
  first: TreeHead,
  second: TreeHead,
  path: readonly Uint8Array[],
): boolean {
  if (!inTree(first.size, second.size + 1) || !isPath(path)) return false;
  if (first.size === second.size) return path.length === 0 && equalBytes(first.root, second.root);
  if (first.size === 0) return path.length === 0;
  const [start, ...rest] = isPowerOfTwo(first.size) ? [first.root, ...path] : path;
  if (start === undefined) return false;
  let [fn, sn] = [first.size - 1, second.size - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  let [fr, sr] = [start, start];
  for (const c of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeDigest(c, fr);
      sr = nodeDigest(c, sr);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      sr = nodeDigest(sr, c);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equalBytes(fr, first.root) && equalBytes(sr, second.root);
}

const half = (n: number) => Math.floor(n / 2);
const isPowerOfTwo = (n: number) => 2 ** floorLog2(n) === n;

/** Index from 0 below the size; both exact numbers. */
function inTree(index: number, size: number): boolean {
  return Number.isInteger(index) && index >= 0 && index < size && size <= leavesMax + 1;
}

function isPath(path: readonly Uint8Array[]): boolean {
  return path.length <= pathMax && path.every(({ length }) => length === digestLength);
}

function outside(field: string, what: string): CvmpError {
  return new CvmpError('INVALID_FIELD', what, { field });
}
