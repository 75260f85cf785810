import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '#core/bytes.js';
import {
  append,
  emptyFrontier,
  type Frontier,
  floorLog2,
  leafDigest,
  leavesMax,
  rootOf,
  subtrees,
} from '#core/log/tree.js';
import { refusalOf } from '../../refusal.js';
import { leaves, naiveRoot } from './naive-tree.js';

/** Inputs and roots that implementations of RFC 6962 and RFC 9162 share. */
const contents = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map((hex) => fromHex(hex));
const roots = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

const frontierOf = (contents: readonly Uint8Array[]) =>
  append(emptyFrontier, contents.map(leafDigest));

describe('Merkle tree (RFC 9162 s.2.1.1)', () => {
  it.each(roots.map((root, size) => [size, root]))('root over %i known leaves', (size, root) => {
    const known = contents.slice(0, size);
    expect(toHex(rootOf(frontierOf(known)))).toBe(root);
    expect(toHex(naiveRoot(known))).toBe(root);
  });

  it('the root of every size up to 130 is the one of the definition', () => {
    const all = leaves(130);
    let frontier: Frontier = emptyFrontier;
    for (const [i, content] of all.entries()) {
      frontier = append(frontier, [leafDigest(content)]);
      expect(toHex(rootOf(frontier))).toBe(toHex(naiveRoot(all.slice(0, i + 1))));
    }
  });

  it('however the leaves are divided into batches, the tree is the same', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 12 }), (batches) => {
        const all = leaves(batches.reduce((a, b) => a + b, 0));
        let frontier: Frontier = emptyFrontier;
        for (const count of batches) {
          const from = frontier.size;
          frontier = append(frontier, all.slice(from, from + count).map(leafDigest));
        }
        expect(frontier).toEqual(frontierOf(all));
      }),
      { numRuns: 50 },
    );
  });

  it('tells of every complete subtree once, with its root', () => {
    const all = leaves(41);
    const told = new Map<string, string>();
    append(emptyFrontier, all.map(leafDigest), (level, index, digest) => {
      expect(told.has(`${level}/${index}`)).toBe(false);
      told.set(`${level}/${index}`, toHex(digest));
    });
    for (const [at, digest] of told) {
      const [level, index] = at.split('/').map(Number) as [number, number];
      const content = all.slice(index * 2 ** level, (index + 1) * 2 ** level);
      expect(toHex(naiveRoot(content))).toBe(digest);
    }
    expect(told.size).toBe(41 + 20 + 10 + 5 + 2 + 1);
  });

  it('appending changes no frontier that somebody holds', () => {
    const held = frontierOf(leaves(7));
    const before = structuredClone(held);
    append(held, [leafDigest(Uint8Array.of(1))]);
    expect(held).toEqual(before);
  });

  it('a log is never longer than 2^48 records', async () => {
    const full: Frontier = { size: leavesMax, peaks: [] };
    expect(await refusalOf(() => append(full, [new Uint8Array(32)]))).toBe('SIZE');
  });

  it('sizes near a power of two are divided exactly', () => {
    for (const n of [1, 2, 3, 2 ** 31, 2 ** 32 + 1, 2 ** 48 - 1, 2 ** 48]) {
      const level = floorLog2(n);
      expect(2 ** level <= n && n < 2 ** (level + 1), `${n}`).toBe(true);
    }
    const nodes = subtrees(0, 2 ** 48 - 1);
    expect(nodes.map(({ level }) => level)).toEqual(Array.from({ length: 48 }, (_, i) => 47 - i));
  });
});
