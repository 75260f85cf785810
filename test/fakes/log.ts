import { equalBytes } from '#core/bytes.js';
import type { EcPrivateKey } from '#core/crypto.js';
import {
  parseCheckpoint,
  type SignedCheckpoint,
  signCheckpoint,
  signerName,
} from '#core/log/checkpoint.js';
import { consistencyPath, type ReadNodes } from '#core/log/proofs.js';
import { append, emptyFrontier, leafDigest, rootOf, subtreeRoot } from '#core/log/tree.js';
import type { LogContinuation } from '#core/session/server.js';

/** The log of a Key Server in memory: what it shows to who keeps a checkpoint of it. */
export class FakeLog {
  readonly #identity: EcPrivateKey;
  readonly #leaves: Uint8Array[] = [];

  /** @param records contents of its records */
  constructor(identity: EcPrivateKey, ...records: readonly string[]) {
    this.#identity = identity;
    for (const record of records) this.add(record);
  }

  add(record: string): void {
    this.#leaves.push(leafDigest(new TextEncoder().encode(record)));
  }

  newest(): Promise<SignedCheckpoint> {
    const size = this.#leaves.length;
    return signCheckpoint(this.#identity, {
      size,
      root: rootOf(append(emptyFrontier, this.#leaves)),
      stateVersion: size,
      time: 1_700_000_000_000,
      keyServer: signerName(this.#identity),
    });
  }

  /** As a server that has no idea of being rolled back. */
  async continueFrom(shown: readonly Uint8Array[]): Promise<LogContinuation> {
    const checkpoint = await this.newest();
    const own = signerName(this.#identity);
    const kept = shown.map(parseCheckpoint).find(({ keyServer }) => equalBytes(keyServer, own));
    if (kept === undefined || kept.size > checkpoint.size) return { checkpoint, path: [] };
    return { checkpoint, path: await consistencyPath(kept.size, checkpoint.size, this.#nodes) };
  }

  readonly #nodes: ReadNodes = async (nodes) =>
    nodes.map(({ level, index }) =>
      subtreeRoot(this.#leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)),
    );
}
