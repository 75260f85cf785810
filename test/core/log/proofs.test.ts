import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import {
  consistencyPath,
  inclusionPath,
  pathMax,
  rootAt,
  verifyConsistency,
  verifyInclusion,
} from '#core/log/proofs.js';
import { leafDigest } from '#core/log/tree.js';
import { refusalOf } from '../../refusal.js';
import { leaves, naiveConsistency, naiveInclusion, naiveRoot, nodesOf } from './naive-tree.js';

const largest = 37;
const all = leaves(largest);
const rootsOf = Array.from({ length: largest + 1 }, (_, n) => naiveRoot(all.slice(0, n)));
const hexes = (path: readonly Uint8Array[]) => path.map(toHex);

/** The path with each of its bytes changed, cut, extended, and its hashes swapped. */
function* wrongPaths(path: readonly Uint8Array[]): Generator<Uint8Array[]> {
  for (const [i, hash] of path.entries()) {
    for (const at of [0, 15, 31]) {
      const bad = hash.slice();
      bad[at]! ^= 0x40;
      yield path.map((h, j) => (i === j ? bad : h));
    }
    yield path.filter((_, j) => j !== i);
    yield path.map((h, j) => (i === j ? h.slice(1) : h));
    if (i > 0) yield path.map((h, j) => (j === i ? path[i - 1]! : j === i - 1 ? path[i]! : h));
  }
  yield [...path, new Uint8Array(32)];
  yield [...path, ...Array.from({ length: pathMax }, () => new Uint8Array(32))];
}

describe('inclusion proofs (RFC 9162 s.2.1.3)', () => {
  it('are those of the definition, and verify, for every leaf of every size', async () => {
    for (let size = 1; size <= largest; size++) {
      const known = all.slice(0, size);
      for (let index = 0; index < size; index++) {
        const path = await inclusionPath(index, size, nodesOf(all));
        expect(hexes(path)).toEqual(hexes(naiveInclusion(index, known)));
        const leaf = leafDigest(all[index]!);
        expect(verifyInclusion(leaf, index, size, path, rootsOf[size]!)).toBe(true);
      }
    }
  });

  it('verify for no other leaf, place, size or root', async () => {
    const path = await inclusionPath(11, 21, nodesOf(all));
    const leaf = leafDigest(all[11]!);
    const root = rootsOf[21]!;
    for (let index = 0; index < 40; index++) {
      expect(verifyInclusion(leaf, index, 21, path, root)).toBe(index === 11);
    }
    expect(verifyInclusion(leafDigest(all[12]!), 11, 21, path, root)).toBe(false);
    expect(verifyInclusion(leaf, 11, 21, path, rootsOf[22]!)).toBe(false);
    expect(verifyInclusion(leaf, 11, 64, path, root)).toBe(false);
    for (const index of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(verifyInclusion(leaf, index, 21, path, root)).toBe(false);
    }
  });

  it('verify with no byte changed, no hash missing, added or moved', async () => {
    for (const [index, size] of [
      [0, 2],
      [5, 8],
      [20, 21],
      [16, 33],
    ] as const) {
      const path = await inclusionPath(index, size, nodesOf(all));
      const leaf = leafDigest(all[index]!);
      for (const bad of wrongPaths(path)) {
        expect(verifyInclusion(leaf, index, size, bad, rootsOf[size]!)).toBe(false);
      }
    }
  });

  it('are refused for a leaf that is not there', async () => {
    for (const [index, size] of [
      [0, 0],
      [5, 5],
      [-1, 5],
      [0.5, 5],
    ] as const) {
      expect(await refusalOf(inclusionPath(index, size, nodesOf(all)))).toBe('INVALID_FIELD');
    }
  });
});

describe('consistency proofs (RFC 9162 s.2.1.4)', () => {
  it('are those of the definition, and verify, between every two sizes', async () => {
    for (let second = 1; second <= largest; second++) {
      const known = all.slice(0, second);
      for (let first = 1; first <= second; first++) {
        const path = await consistencyPath(first, second, nodesOf(all));
        expect(hexes(path)).toEqual(hexes(naiveConsistency(first, known)));
        const heads = [first, second].map((size) => ({ size, root: rootsOf[size]! }));
        expect(verifyConsistency(heads[0]!, heads[1]!, path)).toBe(true);
      }
    }
  });

  it('from the empty log nothing needs to be proven', async () => {
    const [none, some] = [0, 9].map((size) => ({ size, root: rootsOf[size]! }));
    expect(await consistencyPath(0, 9, nodesOf(all))).toEqual([]);
    expect(verifyConsistency(none!, some!, [])).toBe(true);
    expect(verifyConsistency(none!, none!, [])).toBe(true);
    expect(verifyConsistency(none!, some!, [rootsOf[9]!])).toBe(false);
  });

  it('verify with no byte changed, no hash missing, added or moved', async () => {
    for (const [first, second] of [
      [1, 2],
      [3, 7],
      [8, 8],
      [8, 21],
      [20, 33],
    ] as const) {
      const path = await consistencyPath(first, second, nodesOf(all));
      const heads = [first, second].map((size) => ({ size, root: rootsOf[size]! }));
      for (const bad of wrongPaths(path)) {
        expect(verifyConsistency(heads[0]!, heads[1]!, bad)).toBe(false);
      }
    }
  });

  it('verify for no other sizes or roots, and never backwards', async () => {
    const path = await consistencyPath(6, 19, nodesOf(all));
    const [first, second] = [6, 19].map((size) => ({ size, root: rootsOf[size]! }));
    for (let size = 0; size <= largest; size++) {
      const head = { size, root: rootsOf[size]! };
      expect(verifyConsistency(head, second!, path)).toBe(size === 6);
      expect(verifyConsistency({ ...first!, size }, second!, path)).toBe(size === 6);
      expect(verifyConsistency(first!, head, path)).toBe(size === 19);
      if (size > 0) expect(verifyConsistency(second!, head, path)).toBe(false);
    }
  });

  it('a log in which one earlier record was changed is never proven consistent', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: largest }),
        fc.nat(largest),
        fc.nat(largest),
        async (second, a, b) => {
          const first = 1 + (a % second);
          const changed = all.map((leaf, i) => (i === b % first ? Uint8Array.of(0xff) : leaf));
          const path = await consistencyPath(first, second, nodesOf(changed));
          const kept = { size: first, root: rootsOf[first]! };
          const forked = { size: second, root: naiveRoot(changed.slice(0, second)) };
          expect(verifyConsistency(kept, forked, path)).toBe(false);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('are refused from a greater size to a smaller', async () => {
    expect(await refusalOf(consistencyPath(6, 5, nodesOf(all)))).toBe('INVALID_FIELD');
    expect(await refusalOf(consistencyPath(-1, 5, nodesOf(all)))).toBe('INVALID_FIELD');
  });
});

describe('roots of earlier sizes', () => {
  it('come from complete subtrees alone', async () => {
    for (let size = 1; size <= largest; size++) {
      expect(toHex(await rootAt(size, nodesOf(all)))).toBe(toHex(rootsOf[size]!));
    }
  });
});
