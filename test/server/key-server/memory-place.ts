import { join } from 'node:path';
import { crypto } from '#crypto';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import { stateOver } from '#server/key-server/release/open.js';
import { firstKek, openKeyring } from '#server/key-server/store/keyring.js';
import { createMasterKeyFile, readMasterKeyFile } from '#server/key-server/store/master-key.js';
import type { Store, Stored } from '#server/key-server/store/store.js';
import { MemoryStore } from '../../fakes/memory-store.js';
import { MemoryVault } from '../../fakes/memory-vault.js';
import { temporaryFolder } from '../../run-folder.js';

const { randomBytes } = crypto;
const storeId = new Uint8Array(16).fill(9);

/** A Key Server's store and vault in memory, which outlive its states. 2026-11-22. */
export class MemoryPlace {
  now = 1_795_300_000_000;
  #store: MemoryStore;
  #vault: MemoryVault;
  readonly #masterFile: string;

  private constructor(store: MemoryStore, vault: MemoryVault, masterFile: string) {
    this.#store = store;
    this.#vault = vault;
    this.#masterFile = masterFile;
  }

  static async make(): Promise<MemoryPlace> {
    const masterFile = join(temporaryFolder('memory-place'), 'master.key');
    createMasterKeyFile(masterFile, randomBytes);
    const masterKey = readMasterKeyFile(masterFile);
    const tools = { crypto, randomBytes, masterKey };
    const keks = [await firstKek(storeId, tools)];
    const content = { master: masterKey.description, keks, backedUp: 0 };
    const vault = new MemoryVault(storeId, content);
    const { server } = await openKeyring(vault.copy(), tools);
    const identity = await crypto.exportEcKey(await crypto.generateEcKey('P-256'));
    const store = new MemoryStore();
    store.records.set('identity', { value: server.seal('identity', 1, identity), version: 1 });
    return new MemoryPlace(store, vault, masterFile);
  }

  /** Everything as it is durable now. */
  copy(): MemoryPlace {
    const copy = new MemoryPlace(copyOf(this.#store), this.#vault.copy(), this.#masterFile);
    copy.now = this.now;
    return copy;
  }

  /** What is durable in the store. */
  get records(): ReadonlyMap<string, Stored> {
    return this.#store.records;
  }

  /** The same store beside another place's vault, as a restored backup is. */
  withVaultOf(other: MemoryPlace): MemoryPlace {
    this.#vault = other.#vault.copy();
    return this;
  }

  /** Starts a server, and ends the one before as a crash would. @param over stands before the store */
  open(over: (store: Store) => Store = (store) => store): Promise<KeyServerState> {
    this.#store = copyOf(this.#store);
    this.#vault = this.#vault.copy();
    const masterKey = readMasterKeyFile(this.#masterFile);
    return stateOver(over(this.#store), this.#vault, {
      masterKey,
      now: () => this.now,
      randomBytes,
    });
  }
}

function copyOf({ records }: MemoryStore): MemoryStore {
  const copy = new MemoryStore();
  for (const [key, stored] of records) copy.records.set(key, stored);
  return copy;
}
