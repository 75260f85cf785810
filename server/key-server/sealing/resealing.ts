import { CvmpError } from '#core/errors.js';
import { decodeKeyRecord, encodeKeyRecord, type KeyRecord } from '#core/keying/key-record.js';
import type { TenantRegistry } from '#server/host/callers/tenants.js';
import type { SealedRecords } from '../release/records.js';
import { type Journal, StaleRead } from '../store/journal.js';
import type { Keyring } from '../store/keyring.js';
import type { MasterKey } from '../store/master-key.js';
import { sealedUnder } from '../store/seal.js';
import type { Store } from '../store/store.js';
import { kekVersionOf, type TenantKeys } from '../store/tenant-keys.js';

/**
 * Under whose KEK records are sealed, by what stands before the first "/" of their keys. A kind that
 * is missing here keeps every tenant from a new KEK: its records would be lost with the old one.
 */
const sealedBy: Readonly<Record<string, 'tenant' | 'server' | 'nobody'>> = {
  '!cvmp': 'nobody',
  agenda: 'nobody',
  audit: 'server',
  'audit-of': 'nobody',
  'audit-refused': 'nobody',
  commits: 'nobody',
  erasing: 'nobody',
  evidence: 'tenant',
  'evidence-doc': 'server',
  'evidence-until': 'nobody',
  identity: 'server',
  key: 'tenant',
  'log-tile': 'server',
  policies: 'tenant',
  policy: 'tenant',
  'policy-keys': 'tenant',
  request: 'tenant',
  'request-until': 'nobody',
  'rollback-accepted': 'server',
  'rollback-alarm': 'server',
  store: 'nobody',
  tenant: 'server',
  tpm: 'server',
};
const ofTenant = Object.keys(sealedBy).filter((kind) => sealedBy[kind] === 'tenant');
/** One record for each tenant, without a "/" behind its name. */
const indexOf = (tenantId: string) => `policies/${tenantId}`;
const atOnce = 100;

interface Tools<Event> {
  readonly store: Store;
  readonly journal: Journal<Event>;
  readonly keyring: Keyring;
  readonly tenants: Pick<TenantRegistry, 'get'>;
  readonly records: SealedRecords<KeyRecord>;
  /** Drops what is in memory of a tenant beside its keys. */
  readonly forget: (tenantId: string) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Replaces keys that others are wrapped under, while requests are served. */
export class Resealing<Event = never> {
  readonly #tools: Tools<Event>;
  #running: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(tools: Tools<Event>) {
    this.#tools = tools;
  }

  /** Goes on with what a crash interrupted. What fails is found again at the next start. */
  resume(): void {
    for (const tenantId of this.#tools.keyring.unfinished) {
      this.rewrap(tenantId, () => undefined).catch((error) => {
        if (!(error instanceof CvmpError)) throw error;
      });
    }
  }

  /** @see Keyring.rekeyMaster */
  rekeyMaster(next: MasterKey, progress: (done: number, total: number) => void): Promise<void> {
    return this.#inTurn(() => this.#tools.keyring.rekeyMaster(next, progress));
  }

  /** @see Keyring.copyVault */
  copyVault(folder: string): Promise<void> {
    return this.#inTurn(() => this.#tools.keyring.copyVault(folder, this.#tools.now()));
  }

  /**
   * Gives a tenant a new KEK and seals all of its records anew, then destroys the old KEK. Repeated
   * after a crash it goes on; records of either KEK are readable until the end.
   * @param progress told how many records were rewritten
   * @throws CvmpError NOT_FOUND, SHUTTING_DOWN, STORE_*
   */
  rewrap(tenantId: string, progress: (done: number) => void): Promise<void> {
    return this.#inTurn(async () => {
      const { tenants, keyring } = this.#tools;
      if ((await tenants.get(tenantId)) === undefined) {
        throw new CvmpError('NOT_FOUND', `there is no tenant ${tenantId}`);
      }
      await this.#demandKnownKinds();
      const keys = await keyring.beginRewrap(tenantId);
      let done = 0;
      // Until a whole pass found nothing: what was rewritten meanwhile by others is looked at again.
      for (let found = 1; found > 0; ) {
        found = 0;
        for await (const rewritten of this.#pass(tenantId, keys)) {
          found += rewritten;
          progress(done + found);
        }
        done += found;
      }
      await keyring.finishRewrap(tenantId);
    });
  }

  /** Lets what is under way end at its next record. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  /** @throws TypeError */
  async #demandKnownKinds(): Promise<void> {
    let after: string | undefined;
    for (;;) {
      const range = { prefix: '', limit: 1, ...(after === undefined ? {} : { after }) };
      const [first] = await this.#tools.store.list(range);
      if (first === undefined) return;
      const [kind = '', ...rest] = first.key.split('/');
      if (sealedBy[kind] === undefined) throw new TypeError(`who seals records of kind ${kind}?`);
      // Behind all of this kind.
      after = rest.length === 0 ? first.key : `${kind}/\u007f`;
    }
  }

  async *#pass(tenantId: string, keys: TenantKeys): AsyncGenerator<number> {
    yield await this.#rewrite(tenantId, indexOf(tenantId), keys);
    for (const kind of ofTenant) {
      const prefix = `${kind}/${tenantId}/`;
      let after: string | undefined;
      do {
        const range = { prefix, limit: atOnce, ...(after === undefined ? {} : { after }) };
        const page = await this.#tools.store.list(range);
        const counts = await Promise.all(page.map(({ key }) => this.#rewrite(tenantId, key, keys)));
        yield counts.reduce((sum, n) => sum + n, 0);
        after = page.at(-1)?.key;
      } while (after !== undefined);
    }
  }

  /** @returns 1 where the record had to be rewritten, or has to be looked at again */
  async #rewrite(tenantId: string, key: string, keys: TenantKeys): Promise<number> {
    if (this.#closed) throw new CvmpError('SHUTTING_DOWN', 'the Key Server is shutting down');
    const { journal, records, forget } = this.#tools;
    const stored = await journal.get(key);
    if (stored === undefined) return 0;
    const plaintext = keys.records.open(key, stored);
    const isOld = sealedUnder(key, stored) !== keys.newest;
    const record = key.startsWith('key/') ? decodeKeyRecord(plaintext) : undefined;
    const next = record && rewrapped(record, keys);
    if (!isOld && next === record) return 0;
    const put = keys.records.put(key, stored.version, next ? encodeKeyRecord(next) : plaintext);
    const submitted = () => {
      if (next === undefined) forget(tenantId);
      else records.submitted(put, next);
    };
    try {
      await journal.submit({ puts: [put], submitted });
    } catch (error) {
      if (!(error instanceof StaleRead)) throw error;
    }
    return 1;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#running.then(work);
    this.#running = done.catch(() => undefined);
    return done;
  }
}

/** The same record where its root keys are under the newest KEK. */
function rewrapped(record: KeyRecord, keys: TenantKeys): KeyRecord {
  const { tenantId, keyId } = record;
  const roots = record.roots.map((root) => {
    if (kekVersionOf(root.wrapped) === keys.newest) return root;
    try {
      const wrapped = keys.rewrapRootKey(root.wrapped, { tenantId, keyId, epoch: root.epoch });
      return { ...root, wrapped };
    } catch (error) {
      // Destroyed: it stays as it is, and is nothing under either KEK.
      if (error instanceof CvmpError && error.code === 'KEY_DESTROYED') return root;
      throw error;
    }
  });
  return roots.every((root, i) => root === record.roots[i]) ? record : { ...record, roots };
}
