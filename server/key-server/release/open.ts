import { rm } from 'node:fs/promises';
import { equalBytes } from '#core/bytes.js';
import type { Crypto } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { decodeKeyRecord, encodeKeyRecord } from '#core/keying/key-record.js';
import { crypto } from '#crypto';
import { KeyLife } from '../lifecycle/key-life.js';
import { EvidenceKeeper, type EvidenceLimits } from '../log/evidence.js';
import { DecisionLog } from '../log/log.js';
import { LogReading } from '../log/reading.js';
import { type Rollback, RollbackGuard } from '../log/rollback.js';
import { NoticeBoard } from '../notices.js';
import { Resealing } from '../sealing/resealing.js';
import { Journal, type JournalObserver } from '../store/journal.js';
import { firstKek, type Keyring, openKeyring } from '../store/keyring.js';
import { initLevelStore, openLevelStore } from '../store/level.js';
import type { MasterKey } from '../store/master-key.js';
import type { Store } from '../store/store.js';
import { finishErasing } from '../store/vault/erasing.js';
import { createVault, openVault } from '../store/vault/file-vault.js';
import type { Vault } from '../store/vault/vault.js';
import { defaultQuotas, type QuotaSettings, Quotas } from '../tenants/quotas.js';
import { writeBackup } from '../upkeep/backup.js';
import { BootCountRecords } from './boot-counts.js';
import type { AuditEvent, KeyServerState } from './contract.js';
import { keyCountsCodec } from './key-counts.js';
import { KeyRelease } from './keys.js';
import { PolicyStore } from './policies.js';
import { SealedRecords } from './records.js';
import { Requests } from './requests.js';
import { Tenants } from './tenants.js';

const identityKey = 'identity';
const storeIdLength = 16;
const countsMax = 10_000;
const keysMax = 50_000;
const pruneEvery = 60_000;

export interface StateOptions {
  readonly masterKey: MasterKey;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly randomBytes: Crypto['randomBytes'];
  /** Absent: beside the folder of the store. */
  readonly headFile?: string | undefined;
  /** Absent: beside the folder of the store. */
  readonly vaultFolder?: string | undefined;
  /** Absent: the defaults of the configuration. */
  readonly quotas?: QuotaSettings | undefined;
  /** Is told of every batch. */
  readonly observer?: JournalObserver<AuditEvent>;
  /** How much evidence is kept; absent: 256 KiB for 30 days. */
  readonly evidenceLimits?: (() => EvidenceLimits) | undefined;
  /** Told that the server was shown a checkpoint from its future; it serves nobody then. */
  readonly alarm?: ((rollback: Rollback) => void) | undefined;
}

/** Where the vault of a store is, unless told. */
export const vaultFolderOf = (folder: string) => `${folder}.vault`;

/**
 * Makes vault and store of a new Key Server, with its identity key (P-256) sealed inside.
 * @throws CvmpError ALREADY_EXISTS, STORE_WRITE, STORE_LOCKED, STORE_ACCESS
 */
export async function initState(folder: string, options: StateOptions): Promise<void> {
  const { randomBytes, masterKey, headFile, vaultFolder = vaultFolderOf(folder) } = options;
  const id = randomBytes(storeIdLength);
  const tools = { crypto, randomBytes, masterKey };
  const keks = [await firstKek(id, tools)];
  await createVault(vaultFolder, id, { master: masterKey.description, keks, backedUp: 0 });
  const vault = await openVault(vaultFolder);
  try {
    const keyring = await openKeyring(vault, tools);
    const identity = await crypto.exportEcKey(await crypto.generateEcKey('P-256'));
    const value = keyring.server.seal(identityKey, 1, identity);
    identity.fill(0);
    await initLevelStore(
      folder,
      id,
      [{ key: identityKey, value, expected: 0, version: 1 }],
      headFile,
    );
  } catch (error) {
    // It has nothing but what was just made for a store that is none.
    await rm(vaultFolder, { recursive: true });
    throw error;
  } finally {
    await vault.close();
  }
}

/**
 * Opens what {@link initState} made.
 * @throws CvmpError STORE_MISSING, STORE_LOCKED, STORE_CORRUPT, STORE_ACCESS, STORE_BEHIND, CONFIG,
 *   MASTER_KEY
 */
export async function openState(folder: string, options: StateOptions): Promise<KeyServerState> {
  // First the store: its lock keeps every other process from both.
  const store = await openLevelStore(folder, options);
  let vault: Vault | undefined;
  try {
    vault = await openVault(options.vaultFolder ?? vaultFolderOf(folder));
    return await stateOver(store, vault, options);
  } catch (error) {
    await vault?.close();
    await store.close();
    throw error;
  }
}

/** The state over any store that was made by {@link initState}. */
export async function stateOver(
  store: Store,
  vault: Vault,
  options: StateOptions,
): Promise<KeyServerState> {
  if (!equalBytes(vault.id, store.id)) {
    throw new CvmpError('CONFIG', 'the vault is of another store');
  }
  const { now, randomBytes, masterKey } = options;
  const keyring = await openKeyring(vault, { crypto, randomBytes, masterKey });
  const identity = await readIdentity(store, keyring);
  const sealer = keyring.server;
  const log = await DecisionLog.open(store, { sealer, identity, now });
  const journal = new Journal<AuditEvent>(store, log, options.observer);
  const { alarm = () => undefined } = options;
  const logTools = { store, sealer, identity, log, journal, now, alarm };
  const reading = new LogReading(logTools);
  const { evidenceLimits = () => ({ bytesMax: 262_144, days: 30 }) } = options;
  const evidence = new EvidenceKeeper({ store, journal, keyring, now, limits: evidenceLimits });
  const counts = new SealedRecords(journal, keyCountsCodec, countsMax);
  const tenants = new Tenants({ store, journal, keyring, now });
  const notices = new NoticeBoard();
  const quotas = new Quotas(options.quotas ?? defaultQuotas, (tenantId) => tenants.peek(tenantId));
  const policyTools = { journal, keyring, tenants, counts, notices, quotas, now };
  const policies = new PolicyStore(policyTools);
  const requests = new Requests(store, journal);
  const keyCodec = { encode: encodeKeyRecord, decode: decodeKeyRecord };
  const records = new SealedRecords(journal, keyCodec, keysMax);
  const erase = () => finishErasing(store, journal, keyring);
  const parts = { store, journal, keyring, policies, requests, records, counts, now };
  const demandServed = (tenantId: string) => tenants.demandServed(tenantId);
  const tools = { ...parts, randomBytes, erase, quotas, demandServed };
  // What a crash came between: tombstones are durable, their erase keys are still there.
  if (store.anchored) await erase();
  const guard = await RollbackGuard.open(logTools);
  const keyAdmin = new KeyLife(tools, notices, tenants);
  if (store.anchored) keyAdmin.start();
  const forget = (tenantId: string) => {
    policies.forget(tenantId);
    counts.clear();
  };
  const resealing = new Resealing({ ...parts, tenants, forget });
  if (store.anchored) resealing.resume();
  const pruning = setInterval(() => void prune(requests, evidence, now), pruneEvery).unref();
  return {
    identity,
    tenants,
    policies,
    quotas,
    keys: new KeyRelease(tools),
    keyAdmin,
    notices,
    resealing,
    audit: {
      record: (event, appraised) =>
        appraised === undefined ? journal.submit({ event }) : evidence.record(event, appraised),
      list: (tenantId, page, filter) => reading.list(tenantId, page, filter),
    },
    bootCounts: new BootCountRecords({ journal, keyring, evidence }),
    log: reading,
    evidence,
    guard,
    failure: () => journal.failure,
    backup: (folder) =>
      writeBackup(folder, { store, identity, checkpoint: () => reading.newest(), now }),
    async close() {
      clearInterval(pruning);
      await keyAdmin.close();
      await resealing.close();
      await journal.close();
      await keyring.close();
    },
  };
}

async function readIdentity(store: Store, keyring: Keyring) {
  const stored = await store.get(identityKey);
  if (stored === undefined) throw new CvmpError('STORE_CORRUPT', 'the identity key is missing');
  const pkcs8 = keyring.server.open(identityKey, stored);
  const key = await crypto.importEcKey(pkcs8);
  pkcs8.fill(0);
  return key;
}

/** A store that fails says so at the next decision; pruning can wait. */
async function prune(
  requests: Requests,
  evidence: EvidenceKeeper,
  now: () => number,
): Promise<void> {
  try {
    while (await requests.prune(now()));
    while (await evidence.prune());
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
  }
}
