import { crypto } from '#crypto';
import type { KeyServerState } from '../release/contract.js';
import { type StateOptions, stateOver, vaultFolderOf } from '../release/open.js';
import { type Keyring, openKeyring } from '../store/keyring.js';
import { type LevelStore, openLevelStore } from '../store/level.js';
import { openVault } from '../store/vault/file-vault.js';

/** A store that no server has open, to be looked at: nothing of it is changed but by `store`. */
export interface StoreAtRest {
  readonly store: LevelStore;
  readonly keyring: Keyring;
  /** What a server would find; it refuses every decision. */
  readonly state: KeyServerState;
}

/**
 * Opens store and vault without their head file, so that also one that lost something can be seen.
 * @throws CvmpError STORE_MISSING, STORE_LOCKED, STORE_CORRUPT, STORE_ACCESS, CONFIG
 */
export async function withStoreAtRest<T>(
  folder: string,
  options: StateOptions,
  body: (opened: StoreAtRest) => Promise<T>,
): Promise<T> {
  const { headFile, vaultFolder = vaultFolderOf(folder), masterKey, randomBytes } = options;
  const store = await openLevelStore(folder, { headFile, isHeadIgnored: true });
  let close = () => store.close();
  try {
    const vault = await openVault(vaultFolder);
    close = async () => {
      await vault.close();
      await store.close();
    };
    const keyring = await openKeyring(vault, { crypto, randomBytes, masterKey });
    const state = await stateOver(store, vault, options);
    close = () => state.close();
    return await body({ store, keyring, state });
  } finally {
    await close();
  }
}
