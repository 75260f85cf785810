import { CvmpError } from '#core/errors.js';
import type { ReadNodes } from '#core/log/proofs.js';
import { digestLength, type Frontier, type NodeAt, subtreeRoot } from '#core/log/tree.js';
import type { LatePut, RecordSealer } from '../store/seal.js';
import type { Store } from '../store/store.js';

/** A tile holds this many levels of the tree by its lowest one: 256 digests. */
const height = 8;
export const tileWidth = 2 ** height;
/** Levels of tiles that a log of 2^48 records can have. */
const levelsMax = 6;
const cachedMax = 64;

const prefixOf = (level: number) => `log-tile/${level}/`;
const tileKey = (level: number, index: number) =>
  `${prefixOf(level)}${index.toString(16).padStart(12, '0')}`;

/** The digests of one level of tiles that come after the last full one. */
type OpenTile = readonly Uint8Array[];

/**
 * What of the tree cannot be computed again from few records: the digests of every eighth level, 256
 * to a record of the store. The lowest level is written when a tile is full; what is after it comes
 * from the records themselves at open. Higher levels are written whenever the lowest was, so that
 * there is no scan at start however long the log is.
 */
export interface Tiles {
  /** By level of tiles. */
  readonly open: readonly OpenTile[];
}

export const noTiles: Tiles = { open: [] };

/** Where a full or open tile of a level stands, given how many digests that level has before. */
interface Placed {
  readonly level: number;
  readonly index: number;
  readonly before: number;
  readonly digests: readonly Uint8Array[];
}

/** Collects the subtrees that an append completes. */
export class TileWriter {
  readonly #open: Uint8Array[][];
  readonly #before: readonly OpenTile[];
  readonly #index: number[] = [];
  readonly #full: Placed[] = [];

  /** @param size of the tree that `tiles` are of */
  constructor(tiles: Tiles, size: number) {
    this.#before = tiles.open;
    this.#open = tiles.open.map((digests) => [...digests]);
    for (let level = 0; level < levelsMax; level++) {
      this.#index.push(Math.floor(size / tileWidth ** (level + 1)));
    }
  }

  /** See core/log/tree.ts append. */
  readonly completed = (level: number, _: number, digest: Uint8Array): void => {
    if (level % height !== 0) return;
    const at = level / height;
    const digests = this.#open[at] ?? [];
    this.#open[at] = digests;
    digests.push(digest);
    if (digests.length < tileWidth) return;
    this.#full.push({ ...this.#place(at), digests });
    this.#open[at] = [];
    this.#index[at]! += 1;
  };

  get tiles(): Tiles {
    return { open: this.#open };
  }

  /** What to write with the records. The version of a tile is how many digests it holds. */
  puts(sealer: RecordSealer): readonly LatePut[] {
    if (this.#full.length === 0) return [];
    const changed: Placed[] = [...this.#full];
    for (const [level, digests] of this.#open.entries()) {
      const place = this.#place(level);
      if (level > 0 && digests.length > place.before) changed.push({ ...place, digests });
    }
    return changed.map(({ level, index, before, digests }) => {
      const key = tileKey(level, index);
      const version = digests.length;
      const seal = () => sealer.seal(key, version, concatenated(digests));
      return { key, expected: before, version, seal };
    });
  }

  /** Digests of the open tile that the store has already: none of the lowest level. */
  #place(level: number): Omit<Placed, 'digests'> {
    const first = !this.#full.some((tile) => tile.level === level);
    const before = level > 0 && first ? (this.#before[level]?.length ?? 0) : 0;
    return { level, index: this.#index[level]!, before };
  }
}

/** Reads tiles of the store; the last few stay in memory. */
export class TileReader {
  readonly #store: Store;
  readonly #sealer: RecordSealer;
  readonly #cached = new Map<string, readonly Uint8Array[]>();

  constructor(store: Store, sealer: RecordSealer) {
    this.#store = store;
    this.#sealer = sealer;
  }

  /** The tree up to the last full tile. @throws CvmpError STORE_CORRUPT */
  async last(): Promise<{ readonly frontier: Frontier; readonly tiles: Tiles }> {
    const prefix = prefixOf(0);
    const [last] = await this.#store.list({ prefix, reverse: true, limit: 1 });
    if (last === undefined) return { frontier: { size: 0, peaks: [] }, tiles: noTiles };
    const full = Number.parseInt(last.key.slice(prefix.length), 16) + 1;
    const size = full * tileWidth;
    const open: OpenTile[] = [[]];
    for (let level = 1; tileWidth ** level <= size; level++) {
      const digests = Math.floor(size / tileWidth ** level);
      const count = digests % tileWidth;
      open[level] =
        count === 0 ? [] : await this.#read(level, Math.floor(digests / tileWidth), count);
    }
    return { frontier: { size, peaks: peaksOf(size, open) }, tiles: { open } };
  }

  /** Reads nodes of the tree of a size: from the open tiles, or the store. */
  nodes(tiles: Tiles, size: number): ReadNodes {
    return (nodes) => Promise.all(nodes.map((node) => this.#node(node, tiles, size)));
  }

  async #node({ level, index }: NodeAt, { open }: Tiles, size: number): Promise<Uint8Array> {
    const at = Math.floor(level / height);
    const count = 2 ** (level % height);
    const first = index * count;
    const tile = Math.floor(first / tileWidth);
    const isOpen = tile === Math.floor(size / tileWidth ** (at + 1));
    const digests = isOpen ? (open[at] ?? []) : await this.#read(at, tile, tileWidth);
    const inside = digests.slice(first % tileWidth, (first % tileWidth) + count);
    if (inside.length !== count) {
      throw new CvmpError('STORE_CORRUPT', `the log lacks node ${index} of level ${level}`);
    }
    return subtreeRoot(inside);
  }

  async #read(level: number, index: number, count: number): Promise<readonly Uint8Array[]> {
    const key = tileKey(level, index);
    const name = `${key} ${count}`;
    const known = this.#cached.get(name);
    if (known !== undefined) return known;
    const stored = await this.#store.get(key);
    if (stored === undefined || stored.version !== count) {
      throw new CvmpError('STORE_CORRUPT', `the record ${key} is missing or of another size`);
    }
    const bytes = this.#sealer.open(key, stored);
    const digests = Array.from({ length: bytes.length / digestLength }, (_, i) =>
      bytes.subarray(i * digestLength, (i + 1) * digestLength),
    );
    if (digests.length !== count) {
      throw new CvmpError('STORE_CORRUPT', `the record ${key} is cut off`);
    }
    const oldest = this.#cached.keys().next();
    if (this.#cached.size >= cachedMax && !oldest.done) this.#cached.delete(oldest.value);
    this.#cached.set(name, digests);
    return digests;
  }
}

/** Roots of the complete subtrees that end at `size`, which is a multiple of a tile's tileWidth. */
function peaksOf(size: number, open: readonly OpenTile[]): readonly (Uint8Array | undefined)[] {
  const peaks: (Uint8Array | undefined)[] = [];
  for (let level = 0; 2 ** level <= size; level++) {
    const index = Math.floor(size / 2 ** level);
    if (index % 2 === 0) {
      peaks.push(undefined);
      continue;
    }
    const count = 2 ** (level % height);
    const first = ((index - 1) * count) % tileWidth;
    peaks.push(subtreeRoot(open[Math.floor(level / height)]!.slice(first, first + count)));
  }
  return peaks;
}

function concatenated(digests: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(digests.length * digestLength);
  for (const [i, digest] of digests.entries()) bytes.set(digest, i * digestLength);
  return bytes;
}
