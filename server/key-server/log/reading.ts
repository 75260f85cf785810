import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { type SignedCheckpoint, signerName } from '#core/log/checkpoint.js';
import { consistencyPath, inclusionPath, rootAt } from '#core/log/proofs.js';
import { signTenantHead } from '#core/log/tenant-head.js';
import { digestLength, emptyRoot } from '#core/log/tree.js';
import { decodePageToken, type Page, type PageRequest, pageOf } from '#server/host/paging.js';
import type { RecordSealer } from '../store/seal.js';
import type { Store } from '../store/store.js';
import {
  blockKey,
  blockPrefix,
  type Logged,
  openBlock,
  ordered,
  readLogged,
  refusalPrefix,
  tenantPrefix,
} from './blocks.js';
import type { DecisionLog, View } from './log.js';

export interface ReadingTools {
  readonly store: Store;
  readonly sealer: RecordSealer;
  readonly identity: EcPrivateKey;
  readonly log: DecisionLog;
}

/** A record, and what proves it to be in the log of a size. */
export interface Proven {
  readonly record: Logged;
  readonly path: readonly Uint8Array[];
}

/** Records of one tenant, and the server's word that there are no others. */
export interface Exported {
  readonly records: readonly Proven[];
  readonly more: boolean;
  /** See core/log/tenant-head.ts. */
  readonly signedHead: Uint8Array;
}

/** Reads the log for its tenants; each sees its own records alone, and hashes of the others. */
export class LogReading {
  readonly #tools: ReadingTools;

  constructor(tools: ReadingTools) {
    this.#tools = tools;
  }

  newest(): Promise<SignedCheckpoint> {
    return this.#tools.log.newest();
  }

  /** A tenant's records, newest first. @throws CvmpError INVALID_FIELD, STORE_CORRUPT */
  async list(
    tenantId: string,
    { pageSize, pageToken }: PageRequest,
    { refusedOnly = false }: { readonly refusedOnly?: boolean } = {},
  ): Promise<Page<Logged>> {
    const before = indexOf(decodePageToken(pageToken));
    const prefix = refusedOnly ? refusalPrefix(tenantId) : tenantPrefix(tenantId);
    const wanted = (entry: Logged) =>
      (entry.tenantId ?? '') === tenantId &&
      entry.index < before &&
      (!refusedOnly || entry.code !== undefined);
    const items: Logged[] = [];
    let after = `${prefix}${ordered(Math.min(before, Number.MAX_SAFE_INTEGER))}`;
    while (items.length <= pageSize) {
      const names = await this.#tools.store.list({ prefix, after, reverse: true, limit: 100 });
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

  /** @throws CvmpError NOT_FOUND: there is none, or it is another tenant's */
  async find(tenantId: string, index: number): Promise<Logged> {
    const [entry] = await this.#tools.store.list({
      prefix: blockPrefix,
      after: blockKey(index + 1),
      reverse: true,
      limit: 1,
    });
    const records = entry === undefined ? [] : await this.#block(entry.key);
    const found = records.find((record) => record.index === index);
    if ((found?.tenantId ?? '') === tenantId && found !== undefined) return found;
    throw new CvmpError('NOT_FOUND', 'there is no such record', { field: 'index' });
  }

  /** @param size 0: that of the newest checkpoint. @throws CvmpError NOT_FOUND, INVALID_FIELD */
  async inclusion(tenantId: string, index: number, size: number): Promise<Proven> {
    const view = this.#view(size);
    const record = await this.find(tenantId, index);
    return { record, path: await inclusionPath(index - 1, view.size, view.nodes) };
  }

  /** Root that the log had at a size. @throws CvmpError INVALID_FIELD, STORE_CORRUPT */
  async rootAt(size: number): Promise<Uint8Array> {
    return size === 0 ? emptyRoot() : rootAt(size, this.#view(size).nodes);
  }

  /** @throws CvmpError INVALID_FIELD */
  async consistency(first: number, second: number): Promise<readonly Uint8Array[]> {
    const view = this.#view(second);
    return consistencyPath(first, view.size, view.nodes);
  }

  /** A tenant's records after an index, oldest first, proven for one size. */
  async export(tenantId: string, after: number, size: number, pageSize: number): Promise<Exported> {
    const view = this.#view(size);
    const found: Logged[] = [];
    const inside = ({ tenantId: of = '', index }: Logged) =>
      of === tenantId && index > after && index <= view.size;
    for await (const key of this.#blocksAfter(tenantId, after)) {
      found.push(...(await this.#block(key)).filter(inside));
      if (found.length > pageSize) break;
    }
    const records = await Promise.all(
      found.slice(0, pageSize).map(async (record) => {
        const path = await inclusionPath(record.index - 1, view.size, view.nodes);
        return { record, path };
      }),
    );
    const signedHead = await this.#head(tenantId, view);
    return { records, more: found.length > pageSize, signedHead };
  }

  /** Records of all tenants after an index, as they are hashed: for the operator alone. */
  async exportAll(after: number, count: number): Promise<readonly Uint8Array[]> {
    const { store, sealer } = this.#tools;
    const begin = { prefix: blockPrefix, after: blockKey(after + 2), reverse: true, limit: 1 };
    const [first] = await store.list(begin);
    const bodies: Uint8Array[] = [];
    let page = first === undefined ? [] : [first];
    while (page.length > 0 && bodies.length < count) {
      for (const { key, ...stored } of page) {
        const from = Number.parseInt(key.slice(blockPrefix.length), 16);
        const skipped = Math.max(0, after + 1 - from);
        bodies.push(...openBlock(key, stored, sealer).bodies.slice(skipped));
      }
      page = [...(await store.list({ prefix: blockPrefix, after: page.at(-1)!.key, limit: 20 }))];
    }
    return bodies.slice(0, count);
  }

  /** Keys of the blocks that hold records of a tenant after an index, and perhaps one before. */
  async *#blocksAfter(tenantId: string, index: number): AsyncGenerator<string> {
    const { store } = this.#tools;
    const prefix = tenantPrefix(tenantId);
    const begin = { prefix, after: `${prefix}${ordered(index + 1)}`, reverse: true, limit: 1 };
    const [first] = await store.list(begin);
    if (first !== undefined) yield `${blockPrefix}${first.key.slice(prefix.length)}`;
    let after = first?.key ?? '';
    for (;;) {
      const range = { prefix, limit: 100, ...(after === '' ? {} : { after }) };
      const names = await store.list(range);
      if (names.length === 0) return;
      for (const { key } of names) yield `${blockPrefix}${key.slice(prefix.length)}`;
      after = names.at(-1)!.key;
    }
  }

  async #head(tenantId: string, view: View): Promise<Uint8Array> {
    const { identity } = this.#tools;
    const last = await this.#lastBelow(tenantId, view.size);
    return signTenantHead(identity, signerName(identity), {
      tenantId,
      size: view.size,
      root: view.size === 0 ? emptyRoot() : await rootAt(view.size, view.nodes),
      sequence: last?.sequence ?? 0,
      leaf: last?.leaf ?? new Uint8Array(digestLength),
    });
  }

  /** The last record of a tenant in the log of a size. */
  async #lastBelow(tenantId: string, size: number): Promise<Logged | undefined> {
    const prefix = tenantPrefix(tenantId);
    const range = { prefix, after: `${prefix}${ordered(size + 1)}`, reverse: true, limit: 2 };
    for (const { key } of await this.#tools.store.list(range)) {
      const records = await this.#block(`${blockPrefix}${key.slice(prefix.length)}`);
      const own = records.filter((r) => (r.tenantId ?? '') === tenantId && r.index <= size);
      if (own.length > 0) return own.at(-1);
    }
    return undefined;
  }

  #view(size: number): View {
    const view = this.#tools.log.view();
    if (size > view.size) {
      const what = `the log has ${view.size} records, not ${size}`;
      throw new CvmpError('INVALID_FIELD', what, { field: 'size' });
    }
    return size === 0 ? view : { ...view, size };
  }

  async #block(key: string): Promise<readonly Logged[]> {
    const stored = await this.#tools.store.get(key);
    if (stored === undefined) {
      throw new CvmpError('STORE_CORRUPT', `the audit block ${key} is missing`);
    }
    return openBlock(key, stored, this.#tools.sealer).bodies.map(readLogged);
  }
}

function indexOf(token: string | undefined): number {
  if (token === undefined) return Number.POSITIVE_INFINITY;
  if (/^[0-9]{1,15}$/.test(token)) return Number(token);
  throw new CvmpError('INVALID_FIELD', 'page_token is not one of ours', { field: 'page_token' });
}
