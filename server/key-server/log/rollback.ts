import { equalBytes } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asInteger, decodeMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { ecPublicKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import {
  openCheckpoint,
  parseCheckpoint,
  type SignedCheckpoint,
  signerName,
} from '#core/log/checkpoint.js';
import { consistencyPath, rootAt } from '#core/log/proofs.js';
import { crypto } from '#crypto';
import type { AuditEvent } from '../release/contract.js';
import type { Journal } from '../store/journal.js';
import type { RecordSealer } from '../store/seal.js';
import type { Store } from '../store/store.js';
import type { DecisionLog } from './log.js';

/** Why the server serves nobody: a checkpoint that it signed and does not know of. */
export interface Rollback {
  /** As a peer showed it. */
  readonly shown: SignedCheckpoint;
  /** The server's own, at that moment. */
  readonly own: SignedCheckpoint;
  /** When, milliseconds since 1970. */
  readonly time: number;
}

/** The newest checkpoint, and what proves it to continue the one that was shown. */
export interface Continuation {
  readonly checkpoint: SignedCheckpoint;
  readonly path: readonly Uint8Array[];
}

export interface GuardTools {
  readonly store: Store;
  readonly sealer: RecordSealer;
  readonly identity: EcPrivateKey;
  readonly log: DecisionLog;
  readonly journal: Journal<AuditEvent>;
  readonly now: () => number;
  /** Told when it is noticed, and at start where it was noticed before. */
  readonly alarm: (rollback: Rollback) => void;
}

const markerKey = 'rollback-alarm';
const acceptedKey = 'rollback-accepted';

/**
 * Compares what peers keep of this server with what the server knows of itself. A checkpoint of its
 * own that its log does not reach, or contradicts, means that the store is an older one, or a copy
 * that went another way: nothing may be decided on it. The marker outlives a restart.
 */
export class RollbackGuard {
  readonly #tools: GuardTools;
  readonly #keyServer: Uint8Array;
  #alarm: Rollback | undefined;
  #markerVersion = 0;
  #accepted: { readonly until: number; readonly version: number };

  private constructor(tools: GuardTools, accepted: { until: number; version: number }) {
    this.#tools = tools;
    this.#keyServer = signerName(tools.identity);
    this.#accepted = accepted;
  }

  /** @throws CvmpError STORE_CORRUPT */
  static async open(tools: GuardTools): Promise<RollbackGuard> {
    const { store, sealer } = tools;
    const accepted = await store.get(acceptedKey);
    const guard = new RollbackGuard(tools, {
      until: accepted === undefined ? -1 : readAccepted(sealer.open(acceptedKey, accepted)),
      version: accepted?.version ?? 0,
    });
    const marker = await store.get(markerKey);
    if (marker !== undefined) {
      guard.#markerVersion = marker.version;
      guard.#raise(readMarker(sealer.open(markerKey, marker)));
    }
    return guard;
  }

  /** What was noticed; undefined while all is well. */
  get rollback(): Rollback | undefined {
    return this.#alarm;
  }

  /** Why nobody is served; undefined while all is well. */
  refusal(): CvmpError | undefined {
    return this.#alarm && rolledBack(this.#alarm);
  }

  /**
   * Answers a peer that shows what it keeps.
   * @param shown checkpoints of this and of other servers, at most one of which counts
   * @throws CvmpError SERVER_ROLLBACK, SIGNATURE_INVALID, MALFORMED, NOT_CANONICAL, SIZE
   */
  async continueFrom(shown: readonly Uint8Array[]): Promise<Continuation> {
    if (this.#alarm !== undefined) throw rolledBack(this.#alarm);
    const own = shown
      .map(parseCheckpoint)
      .filter(({ keyServer }) => equalBytes(keyServer, this.#keyServer))
      .sort((a, b) => b.size - a.size);
    const { log } = this.#tools;
    const checkpoint = await log.newest();
    const [kept] = own;
    if (kept === undefined || kept.size === 0) return { checkpoint, path: [] };
    if (await this.#knows(kept, checkpoint)) {
      const { nodes } = log.view();
      return { checkpoint, path: await consistencyPath(kept.size, checkpoint.size, nodes) };
    }
    // Whoever cannot sign as this server cannot stop it.
    const { identity } = this.#tools;
    await openCheckpoint(kept.signed, ecPublicKey(identity.curve, identity.publicPoint));
    // Lost, and known to be: whoever keeps it refuses this server until it is told otherwise.
    if (kept.time <= this.#accepted.until) return { checkpoint, path: [] };
    const rollback = { shown: kept, own: checkpoint, time: this.#tools.now() };
    await this.#remember(rollback);
    throw rolledBack(rollback);
  }

  /**
   * An operator has looked and takes the loss: the server serves again, and its log says so. Lost
   * checkpoints of before raise no other alarm, and are never continued.
   * @param size of the checkpoint that was shown: who names it has seen it
   * @throws CvmpError NOT_FOUND where there is no alarm, INVALID_FIELD where the size is another
   */
  async accept(size: number, requestId: string): Promise<void> {
    const rollback = this.#alarm;
    if (rollback === undefined) throw new CvmpError('NOT_FOUND', 'no rollback was noticed');
    if (rollback.shown.size !== size) {
      const what = `the checkpoint that was shown has another size than ${size}`;
      throw new CvmpError('INVALID_FIELD', what, { field: 'size' });
    }
    const { journal, sealer, now } = this.#tools;
    const until = now();
    const put = sealer.put(acceptedKey, this.#accepted.version, encode([until]));
    const deletes = [{ key: markerKey, expected: this.#markerVersion }];
    const event: AuditEvent = {
      operation: 'rollback_accepted',
      tenantId: undefined,
      actor: 'operator',
      requestId,
      requestDigest: crypto.hash('sha256', rollback.shown.signed),
    };
    journal.halt(undefined);
    try {
      await journal.submit({ puts: [put], ...(this.#markerVersion > 0 ? { deletes } : {}), event });
    } catch (error) {
      journal.halt(rolledBack(rollback));
      throw error;
    }
    this.#accepted = { until, version: put.version };
    this.#markerVersion = 0;
    this.#alarm = undefined;
  }

  /** Whether the log had this root at this size. */
  async #knows(kept: SignedCheckpoint, newest: SignedCheckpoint): Promise<boolean> {
    if (kept.size > newest.size || kept.stateVersion > newest.stateVersion) return false;
    const { nodes } = this.#tools.log.view();
    return equalBytes(await rootAt(kept.size, nodes), kept.root);
  }

  async #remember(rollback: Rollback): Promise<void> {
    if (this.#alarm !== undefined) return;
    this.#raise(rollback);
    const { journal, sealer, store } = this.#tools;
    const put = sealer.put(markerKey, 0, encodeMarker(rollback));
    try {
      // Past the journal, which is halted; nobody else writes this key.
      await journal.settled();
      await store.commit({ puts: [{ ...put, value: put.seal() }] });
      this.#markerVersion = put.version;
    } catch (error) {
      // A store that only reads (restored, full) keeps no marker; the next peer raises it again.
      if (!(error instanceof CvmpError)) throw error;
    }
  }

  #raise(rollback: Rollback): void {
    this.#alarm = rollback;
    this.#tools.journal.halt(rolledBack(rollback));
    this.#tools.alarm(rollback);
  }
}

function rolledBack({ shown, own }: Rollback): CvmpError {
  const what = `a peer keeps a checkpoint of ${shown.size} records, this log had ${own.size}`;
  return new CvmpError('SERVER_ROLLBACK', `${what} and does not continue it`);
}

function encodeMarker({ shown, own, time }: Rollback): Uint8Array {
  return encode(
    new Map<number, CborValue>([
      [1, shown.signed],
      [2, own.signed],
      [3, time],
    ]),
  );
}

function readMarker(bytes: Uint8Array): Rollback {
  return decodeMap(bytes, markerKey, (m) => ({
    shown: parseCheckpoint(m.bytes(1, 'shown')),
    own: parseCheckpoint(m.bytes(2, 'own')),
    time: m.integer(3, 'time'),
  }));
}

function readAccepted(bytes: Uint8Array): number {
  return asInteger(asArray(decode(bytes), acceptedKey, { length: 1 })[0], acceptedKey);
}
