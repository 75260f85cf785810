import { CvmpError } from '#core/errors.js';
import type { KeyRecord } from '#core/keying/key-record.js';
import { effectiveFloor } from '#core/keying/rules.js';
import { decodePageToken, type Page, type PageRequest, pageOf } from '#server/host/paging.js';
import type { Keyring } from '../store/keyring.js';
import type { Store } from '../store/store.js';
import type { KeyInfo, StoredPolicy } from './contract.js';
import { countedKeys, countsKey, type KeyCounts } from './key-counts.js';
import type { PolicyStore } from './policies.js';
import type { SealedRecords } from './records.js';

export const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

const keyPrefix = (tenantId: string) => `key/${tenantId}/`;

/** Where the record of a key is. */
export function keyPlace(tenantId: string, keyId: Uint8Array): string {
  return `${keyPrefix(tenantId)}${hex(keyId)}`;
}

export interface DirectoryTools {
  readonly store: Store;
  readonly keyring: Keyring;
  readonly policies: PolicyStore;
  readonly records: SealedRecords<KeyRecord>;
  readonly counts: SealedRecords<KeyCounts>;
}

/** What a tenant may see of its keys. Read from the store: what is shown is durable. */
export class KeyDirectory {
  readonly #tools: DirectoryTools;
  readonly #records: SealedRecords<KeyRecord>;

  constructor(tools: DirectoryTools) {
    this.#tools = tools;
    this.#records = tools.records;
  }

  /** @throws CvmpError NOT_FOUND, STORE_CORRUPT */
  async get(tenantId: string, keyId: Uint8Array): Promise<KeyInfo> {
    const { store, policies, keyring } = this.#tools;
    const key = keyPlace(tenantId, keyId);
    const stored = await store.get(key);
    if (stored === undefined) throw new CvmpError('NOT_FOUND', 'there is no such key');
    const { current } = await policies.of(tenantId);
    const { records } = await keyring.of(tenantId);
    return infoOf(this.#records.open(key, stored, records), current);
  }

  /** In the order of their ids. @throws CvmpError INVALID_FIELD, STORE_CORRUPT */
  async list(tenantId: string, { pageSize, pageToken }: PageRequest): Promise<Page<KeyInfo>> {
    const { store, policies, keyring } = this.#tools;
    const prefix = keyPrefix(tenantId);
    const after = decodePageToken(pageToken);
    const entries = await store.list({
      prefix,
      limit: pageSize + 1,
      ...(after === undefined ? {} : { after: `${prefix}${after}` }),
    });
    if (entries.length === 0) return { items: [], nextPageToken: '' };
    const { current } = await policies.of(tenantId);
    const { records } = await keyring.of(tenantId);
    const items = entries.map(({ key, ...stored }) =>
      infoOf(this.#records.open(key, stored, records), current),
    );
    return pageOf(items, pageSize, ({ keyId }) => hex(keyId));
  }

  /** Keys that are not destroyed. Afterwards the counts of all policies are in memory. */
  async count(tenantId: string): Promise<number> {
    const { policies, keyring, counts } = this.#tools;
    const own = await policies.of(tenantId);
    if (own.current.size === 0) return 0;
    const { records } = await keyring.of(tenantId);
    for (const id of own.current.keys()) await counts.read(countsKey(tenantId, id), records);
    return countedKeys(counts, tenantId, own);
  }
}

/** A record as its tenant may see it. */
export function infoOf(
  { roots, ...record }: KeyRecord,
  current: ReadonlyMap<string, StoredPolicy>,
): KeyInfo {
  const epochs = roots.map(({ wrapped: _, ...epoch }) => epoch);
  const policy = current.get(record.policyId)?.policy;
  const svnFloor = policy === undefined ? record.svnFloor : effectiveFloor(record, policy);
  return { ...record, epochs, svnFloor };
}
