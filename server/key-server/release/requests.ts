import { equalBytes } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { decodeMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { type Journal, StaleRead } from '../store/journal.js';
import type { LatePut, RecordSealer } from '../store/seal.js';
import type { Expectation, Store } from '../store/store.js';
import type { AuditEvent } from './contract.js';

/** What became of a request, without any secret: an answer is derived again from it. */
export interface Outcome {
  readonly keyId: Uint8Array;
  /** SVN released; 0 where none was. */
  readonly svn: number;
  /** Of a KeyUpdate; equal to the new floor otherwise. */
  readonly oldFloor: number;
  readonly newFloor: number;
  readonly svnRetired: number;
  readonly changed: boolean;
}

interface Remembered extends Outcome {
  /** SHA-256 of what was asked. */
  readonly digest: Uint8Array;
}

const hour = 3_600_000;
const keptHours = 24;
const prunedAtOnce = 500;

const requestKey = (tenantId: string, requestId: Uint8Array) =>
  `request/${tenantId}/${Buffer.from(requestId).toString('hex')}`;

/** When a request may be forgotten: names in the order of that hour, nothing to seal. */
const expiryPrefix = 'request-until/';
const expiryOf = (now: number) => Math.floor(now / hour) + keptHours + 1;
const expiryKey = (expiry: number, key: string) =>
  `${expiryPrefix}${expiry.toString(16).padStart(8, '0')}/${key}`;

/** Digest of what is asked, whatever its encoding was. */
export function requestDigest(operation: string, ...fields: readonly CborValue[]): Uint8Array {
  return crypto.hash('sha256', encode([operation, ...fields]));
}

/**
 * Requests that changed something, kept for 24 hours, so that a repeated one gives the same answer
 * (protocol.md s.6.5). Requests that change nothing are simply decided again.
 */
export class Requests {
  readonly #store: Store;
  readonly #journal: Journal<AuditEvent>;

  constructor(store: Store, journal: Journal<AuditEvent>) {
    this.#store = store;
    this.#journal = journal;
  }

  /**
   * What became of this request, if it was asked before.
   * @throws CvmpError IDEMPOTENCY_MISMATCH where the id was used for another request
   */
  async find(
    tenantId: string,
    requestId: Uint8Array,
    digest: Uint8Array,
    sealer: RecordSealer,
  ): Promise<Outcome | undefined> {
    const key = requestKey(tenantId, requestId);
    const stored = await this.#journal.get(key);
    if (stored === undefined) return undefined;
    const remembered = decodeRemembered(sealer.open(key, stored));
    if (!equalBytes(remembered.digest, digest)) {
      throw new CvmpError('IDEMPOTENCY_MISMATCH', 'the request id was used for another request');
    }
    return remembered;
  }

  /** Remembers the outcome of a new request. */
  puts(
    tenantId: string,
    requestId: Uint8Array,
    remembered: Remembered,
    now: number,
    sealer: RecordSealer,
  ): readonly LatePut[] {
    const key = requestKey(tenantId, requestId);
    const until = expiryKey(expiryOf(now), key);
    return [
      sealer.put(key, 0, encodeRemembered(remembered)),
      { key: until, expected: 0, version: 1, seal: () => new Uint8Array() },
    ];
  }

  /**
   * Forgets some requests that are old enough; called now and then, reads nothing else.
   * @returns whether there are more
   */
  async prune(now: number): Promise<boolean> {
    const present = Math.floor(now / hour)
      .toString(16)
      .padStart(8, '0');
    const names = await this.#store.list({ prefix: expiryPrefix, limit: prunedAtOnce });
    const old = names.filter(({ key }) => key < `${expiryPrefix}${present}`);
    const deletes: Expectation[] = [];
    for (const { key, version } of old) {
      const request = key.slice(expiryPrefix.length + present.length + 1);
      // 2 and more where a new KEK came since.
      const found = await this.#store.get(request);
      deletes.push({ key, expected: version });
      if (found !== undefined) deletes.push({ key: request, expected: found.version });
    }
    if (deletes.length === 0) return false;
    try {
      await this.#journal.submit({ deletes });
    } catch (error) {
      // Another server was faster.
      if (!(error instanceof StaleRead)) throw error;
    }
    return old.length === prunedAtOnce;
  }
}

function encodeRemembered(r: Remembered): Uint8Array {
  return encode(
    new Map<number, CborValue>([
      [1, r.digest],
      [2, r.keyId],
      [3, r.svn],
      [4, r.oldFloor],
      [5, r.newFloor],
      [6, r.svnRetired],
      [7, r.changed],
    ]),
  );
}

function decodeRemembered(bytes: Uint8Array): Remembered {
  return decodeMap(bytes, 'request', (m) => ({
    digest: m.bytes(1, 'digest', { length: 32 }),
    keyId: m.bytes(2, 'key_id', { length: 16 }),
    svn: m.integer(3, 'svn'),
    oldFloor: m.integer(4, 'old_floor'),
    newFloor: m.integer(5, 'new_floor'),
    svnRetired: m.integer(6, 'svn_retired'),
    changed: m.boolean(7, 'changed'),
  }));
}
