import { equalBytes, utf8 } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, decodeMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { decodePageToken, type Page, type PageRequest, pageOf } from '#server/host/paging.js';
import type { BatchLog } from '../store/journal.js';
import type { LatePut, RecordSealer } from '../store/seal.js';
import type { Store, Stored } from '../store/store.js';
import { chainDigest, decodeAuditBody, encodeAuditBody } from './audit-entry.js';
import type { AuditEntry, AuditEvent } from './contract.js';

const blockPrefix = 'audit/';
/** How far the chain had come at the end of some batch; what is after it is verified at open. */
const anchorKey = 'audit-anchor';
const anchorEvery = 8192;

/** A block is named by the index of its first entry. */
const ordered = (index: number) => index.toString(16).padStart(12, '0');
const blockKey = (first: number) => `${blockPrefix}${ordered(first)}`;
/** Names of the blocks with entries of a tenant, and of those among them with a refusal. */
const tenantPrefix = (tenantId: string) => `audit-of/${tenantId}/`;
const refusalPrefix = (tenantId: string) => `audit-refused/${tenantId}/`;

const nothing = new Uint8Array();

/** An end of the chain. */
interface Head {
  /** 0 before the first entry. */
  readonly index: number;
  readonly digest: Uint8Array;
}

/** A head with the version of its record. */
interface Anchor extends Head {
  readonly version: number;
}

interface AuditTools {
  readonly sealer: RecordSealer;
  readonly now: () => number;
}

/**
 * The log of decisions: every entry is hashed with the digest of the one before it. The entries of
 * one batch of the journal are sealed together as a block; empty records say which blocks concern
 * which tenant, so that nobody's list reads through another's.
 */
export class AuditChain implements BatchLog<AuditEvent> {
  readonly #store: Store;
  readonly #tools: AuditTools;
  #head: Head;
  #anchor: Anchor;

  private constructor(store: Store, tools: AuditTools, head: Head, anchor: Anchor) {
    this.#store = store;
    this.#tools = tools;
    this.#head = head;
    this.#anchor = anchor;
  }

  /**
   * Finds the end of the chain and verifies what was written after the anchor.
   * @throws CvmpError STORE_CORRUPT where entries are missing or changed
   */
  static async open(store: Store, tools: AuditTools): Promise<AuditChain> {
    const anchor = await readAnchor(store, tools.sealer);
    let head: Head = anchor;
    let after = blockKey(anchor.index);
    for (;;) {
      const blocks = await store.list({ prefix: blockPrefix, after, limit: 100 });
      for (const { key, ...stored } of blocks) {
        const block = openBlock(key, stored, tools.sealer);
        if (key !== blockKey(head.index + 1) || !equalBytes(block.previous, head.digest)) {
          const what = `the audit chain breaks between entry ${head.index} and ${key}`;
          throw new CvmpError('STORE_CORRUPT', what);
        }
        head = block.head;
        after = key;
      }
      if (blocks.length === 0) return new AuditChain(store, tools, head, anchor);
    }
  }

  /** See {@link BatchLog}. */
  record(events: readonly AuditEvent[]): { puts: readonly LatePut[]; accept: () => void } {
    if (events.length === 0) return { puts: [], accept: () => undefined };
    const first = this.#head.index + 1;
    const time = this.#tools.now();
    const previous = this.#head.digest;
    let digest = previous;
    const bodies = events.map((event, i) => {
      const body = encodeAuditBody(event, first + i, time);
      digest = chainDigest(digest, body);
      return body;
    });
    const head = { index: first + events.length - 1, digest };
    const { sealer } = this.#tools;
    const puts = [sealer.put(blockKey(first), 0, encode([previous, bodies]))];
    for (const prefix of concerned(events)) puts.push(emptyPut(`${prefix}${ordered(first)}`));
    if (head.index < this.#anchor.index + anchorEvery) {
      return { puts, accept: () => this.#advance(head) };
    }
    const anchor = { ...head, version: this.#anchor.version + 1 };
    puts.push(sealer.put(anchorKey, this.#anchor.version, encodeAnchor(head)));
    return { puts, accept: () => this.#advance(head, anchor) };
  }

  /** A tenant's entries, newest first. @throws CvmpError INVALID_FIELD, STORE_CORRUPT */
  async list(
    tenantId: string,
    { pageSize, pageToken }: PageRequest,
    { refusedOnly = false }: { readonly refusedOnly?: boolean } = {},
  ): Promise<Page<AuditEntry>> {
    const before = indexOf(decodePageToken(pageToken));
    const prefix = refusedOnly ? refusalPrefix(tenantId) : tenantPrefix(tenantId);
    const wanted = (entry: AuditEntry) =>
      entry.tenantId === tenantId &&
      entry.index < before &&
      (!refusedOnly || entry.code !== undefined);
    const items: AuditEntry[] = [];
    let after = `${prefix}${ordered(Math.min(before, Number.MAX_SAFE_INTEGER))}`;
    while (items.length <= pageSize) {
      const names = await this.#store.list({ prefix, after, reverse: true, limit: 100 });
      for (const { key } of names) {
        if (items.length > pageSize) break;
        const entries = await this.#block(`${blockPrefix}${key.slice(prefix.length)}`);
        items.push(...entries.filter(wanted).reverse());
        after = key;
      }
      if (names.length === 0) break;
    }
    return pageOf(items, pageSize, ({ index }) => String(index));
  }

  async #block(key: string): Promise<readonly AuditEntry[]> {
    const stored = await this.#store.get(key);
    if (stored === undefined) {
      throw new CvmpError('STORE_CORRUPT', `the audit block ${key} is missing`);
    }
    return openBlock(key, stored, this.#tools.sealer).entries;
  }

  #advance(head: Head, anchor: Anchor = this.#anchor): void {
    this.#head = head;
    this.#anchor = anchor;
  }
}

interface Block {
  /** Digest before its first entry. */
  readonly previous: Uint8Array;
  readonly entries: readonly AuditEntry[];
  readonly head: Head;
}

function openBlock(key: string, stored: Stored, sealer: RecordSealer): Block {
  const [first, list] = asArray(decode(sealer.open(key, stored)), key, { length: 2 });
  const previous = asBytes(first, key, { length: 32 });
  let digest = previous;
  const entries = asArray(list, key).map((item) => {
    const bytes = asBytes(item, key);
    digest = chainDigest(digest, bytes);
    return { ...decodeAuditBody(bytes), chainDigest: digest };
  });
  return { previous, entries, head: { index: entries.at(-1)?.index ?? 0, digest } };
}

function concerned(events: readonly AuditEvent[]): ReadonlySet<string> {
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

function indexOf(token: string | undefined): number {
  if (token === undefined) return Number.POSITIVE_INFINITY;
  if (/^[0-9]{1,15}$/.test(token)) return Number(token);
  throw new CvmpError('INVALID_FIELD', 'page_token is not one of ours', { field: 'page_token' });
}

function encodeAnchor({ index, digest }: Head): Uint8Array {
  return encode(
    new Map<number, CborValue>([
      [1, index],
      [2, digest],
    ]),
  );
}

/** The anchor, and that the block which it ends is there; before the first one a begin of its own. */
async function readAnchor(store: Store, sealer: RecordSealer): Promise<Anchor> {
  const stored = await store.get(anchorKey);
  if (stored === undefined) {
    const digest = crypto.hash('sha256', utf8('CVMP/1 audit'), store.id);
    return { index: 0, digest, version: 0 };
  }
  const head = decodeMap(sealer.open(anchorKey, stored), 'anchor', (m) => ({
    index: m.integer(1, 'index', { min: 1 }),
    digest: m.bytes(2, 'digest', { length: 32 }),
  }));
  const [last] = await store.list({
    prefix: blockPrefix,
    after: blockKey(head.index + 1),
    reverse: true,
    limit: 1,
  });
  const end = last === undefined ? undefined : openBlock(last.key, last, sealer).head;
  if (end === undefined || end.index !== head.index || !equalBytes(end.digest, head.digest)) {
    throw new CvmpError('STORE_CORRUPT', `the audit chain ends before its anchor ${head.index}`);
  }
  return { ...head, version: stored.version };
}
