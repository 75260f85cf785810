import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { type SignedCheckpoint, signCheckpoint, signerName } from '#core/log/checkpoint.js';
import type { ReadNodes } from '#core/log/proofs.js';
import { encodeLogRecord, type LogEvent } from '#core/log/record.js';
import {
  append,
  digestLength,
  emptyFrontier,
  type Frontier,
  leafDigest,
  rootOf,
} from '#core/log/tree.js';
import type { Batched, BatchLog } from '../store/journal.js';
import type { LatePut, RecordSealer } from '../store/seal.js';
import type { Store } from '../store/store.js';
import {
  blockKey,
  blockPrefix,
  blockPut,
  openBlock,
  ordered,
  readLogged,
  refusalPrefix,
  tenantPrefix,
} from './blocks.js';
import { noTiles, TileReader, type Tiles, TileWriter, tileWidth } from './tiles.js';

export interface LogTools {
  readonly sealer: RecordSealer;
  /** Signs checkpoints. */
  readonly identity: EcPrivateKey;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** The last record of a tenant. */
export interface Last {
  readonly sequence: number;
  readonly leaf: Uint8Array;
}

/** The log after some batch; never changed. */
interface State {
  readonly frontier: Frontier;
  readonly tiles: Tiles;
  readonly stateVersion: number;
}

/** What proofs are made from: the log at one moment. */
export interface View {
  readonly size: number;
  readonly nodes: ReadNodes;
}

const nothing = new Uint8Array();
const noRecord: Last = { sequence: 0, leaf: new Uint8Array(digestLength) };
const lastMax = 100_000;

/**
 * The log of decisions: an append-only Merkle tree (RFC 9162) whose leaves are the records. The
 * records of one batch of the journal are sealed together as a block, and signed for together by one
 * checkpoint. Every record names its tenant's record before it. Empty records of the store say which
 * blocks concern which tenant, so that nobody's list reads through another's.
 */
export class DecisionLog implements BatchLog<LogEvent> {
  readonly #store: Store;
  readonly #tools: LogTools;
  readonly #reader: TileReader;
  readonly #keyServer: Uint8Array;
  /** Last records of tenants that recorded something lately. */
  readonly #last = new Map<string, Last>();
  #state: State;
  #newest: Promise<SignedCheckpoint>;

  private constructor(store: Store, tools: LogTools, reader: TileReader, state: State) {
    this.#store = store;
    this.#tools = tools;
    this.#reader = reader;
    this.#state = state;
    this.#keyServer = signerName(tools.identity);
    this.#newest = this.#sign(state, tools.now());
  }

  /**
   * Finds the end of the log: the last full tile, and the few records after it.
   * @throws CvmpError STORE_CORRUPT where these are missing or changed
   */
  static async open(store: Store, tools: LogTools): Promise<DecisionLog> {
    const reader = new TileReader(store, tools.sealer);
    const { frontier, tiles } = await reader.last();
    const state = await readOn(store, tools.sealer, { frontier, tiles, stateVersion: 0 });
    const log = new DecisionLog(store, tools, reader, state);
    await log.#newest;
    return log;
  }

  /** See {@link BatchLog}. The signature is made while the batch is written. */
  record(events: readonly LogEvent[]): Batched | Promise<Batched> {
    const unknown = new Set<string>();
    for (const { tenantId = '' } of events) {
      if (!this.#last.has(tenantId)) unknown.add(tenantId);
    }
    if (unknown.size === 0) return this.#record(events);
    return this.#readLast(unknown).then(() => this.#record(events));
  }

  /** The newest checkpoint: with everything that was ever answered in it. */
  newest(): Promise<SignedCheckpoint> {
    return this.#newest;
  }

  /** What proofs for sizes up to the newest checkpoint's are made from. */
  view(): View {
    const { tiles, frontier } = this.#state;
    return { size: frontier.size, nodes: this.#reader.nodes(tiles, frontier.size) };
  }

  #record(events: readonly LogEvent[]): Batched {
    const { frontier, tiles, stateVersion } = this.#state;
    const first = frontier.size + 1;
    const time = this.#tools.now();
    const last = new Map<string, Last>();
    const leaves: Uint8Array[] = [];
    const bodies = events.map((event, i) => {
      const { tenantId = '' } = event;
      const { sequence, leaf: previous } = last.get(tenantId) ?? this.#last.get(tenantId)!;
      const place = { index: first + i, time, sequence: sequence + 1, previous };
      const body = encodeLogRecord(event, place);
      const leaf = leafDigest(body);
      last.set(tenantId, { sequence: sequence + 1, leaf });
      leaves.push(leaf);
      return body;
    });
    const writer = new TileWriter(tiles, frontier.size);
    const next: State = {
      frontier: append(frontier, leaves, writer.completed),
      tiles: writer.tiles,
      stateVersion: stateVersion + 1,
    };
    const checkpoint = this.#sign(next, time);
    const { sealer } = this.#tools;
    const puts = [blockPut(sealer, first, { stateVersion: next.stateVersion, bodies })];
    for (const prefix of concerned(events)) puts.push(emptyPut(`${prefix}${ordered(first)}`));
    return {
      puts: [...puts, ...writer.puts(sealer)],
      first,
      checkpoint,
      accept: () => this.#accept(next, checkpoint, last),
    };
  }

  #accept(next: State, checkpoint: Promise<SignedCheckpoint>, last: Map<string, Last>): void {
    this.#state = next;
    this.#newest = checkpoint;
    if (this.#last.size > lastMax) this.#last.clear();
    for (const [tenantId, one] of last) this.#last.set(tenantId, one);
  }

  #sign({ frontier, stateVersion }: State, time: number): Promise<SignedCheckpoint> {
    const { size } = frontier;
    const checkpoint = {
      size,
      root: rootOf(frontier),
      stateVersion,
      time,
      keyServer: this.#keyServer,
    };
    const signing = signCheckpoint(this.#tools.identity, checkpoint);
    // Whoever waits for it is told; a batch that fails has nobody who waits.
    signing.catch(() => undefined);
    return signing;
  }

  async #readLast(tenantIds: ReadonlySet<string>): Promise<void> {
    for (const tenantId of tenantIds) {
      this.#last.set(tenantId, await lastOf(this.#store, this.#tools.sealer, tenantId));
    }
  }
}

/** The last record of a tenant in the store. @throws CvmpError STORE_CORRUPT */
async function lastOf(store: Store, sealer: RecordSealer, tenantId: string): Promise<Last> {
  const prefix = tenantPrefix(tenantId);
  const [name] = await store.list({ prefix, reverse: true, limit: 1 });
  if (name === undefined) return noRecord;
  const key = `${blockPrefix}${name.key.slice(prefix.length)}`;
  const stored = await store.get(key);
  if (stored === undefined) throw new CvmpError('STORE_CORRUPT', `the block ${key} is missing`);
  const records = openBlock(key, stored, sealer).bodies.map(readLogged);
  const last = records.filter((record) => (record.tenantId ?? '') === tenantId).at(-1);
  if (last === undefined) {
    throw new CvmpError('STORE_CORRUPT', `the block ${key} has no record of ${tenantId}`);
  }
  return { sequence: last.sequence, leaf: last.leaf };
}

/** Takes up the records after the last full tile. */
async function readOn(store: Store, sealer: RecordSealer, from: State): Promise<State> {
  let { frontier, tiles, stateVersion } = from;
  const size = frontier.size;
  // The block that holds the first of them may begin before it.
  const begin = { prefix: blockPrefix, after: blockKey(size + 2), reverse: true, limit: 1 };
  const [start] = await store.list(begin);
  if (start === undefined) {
    const [later] = await store.list({ prefix: blockPrefix, limit: 1 });
    if (size > 0 || later !== undefined) throw broken(size);
    return { frontier: emptyFrontier, tiles: noTiles, stateVersion };
  }
  let after = '';
  let page = [start];
  while (page.length > 0) {
    for (const { key, ...stored } of page) {
      const block = openBlock(key, stored, sealer);
      const first = Number.parseInt(key.slice(blockPrefix.length), 16);
      const known = frontier.size + 1 - first;
      const follows = stateVersion === 0 || block.stateVersion === stateVersion + 1;
      const overlaps = known > 0 && (after !== '' || known > block.bodies.length);
      if (known < 0 || overlaps || !follows) throw broken(frontier.size);
      const leaves = block.bodies.slice(known).map(leafDigest);
      const writer = new TileWriter(tiles, frontier.size);
      frontier = append(frontier, leaves, writer.completed);
      tiles = writer.tiles;
      stateVersion = block.stateVersion;
      after = key;
    }
    page = [...(await store.list({ prefix: blockPrefix, after, limit: 100 }))];
  }
  // A tile that was full would be there.
  if (frontier.size >= size + tileWidth) throw broken(size);
  return { frontier, tiles, stateVersion };
}

function broken(size: number): CvmpError {
  return new CvmpError('STORE_CORRUPT', `the log breaks after record ${size}`);
}

function concerned(events: readonly LogEvent[]): ReadonlySet<string> {
  const prefixes = new Set<string>();
  for (const { tenantId = '', code } of events) {
    prefixes.add(tenantPrefix(tenantId));
    if (code !== undefined) prefixes.add(refusalPrefix(tenantId));
  }
  return prefixes;
}

/** There is nothing to seal in a name; what it leads to is sealed and says whose it is. */
function emptyPut(key: string): LatePut {
  return { key, expected: 0, version: 1, seal: () => nothing };
}
