import { rootKeyLength } from '#core/keying/derivation.js';
import { encodeKeyRecord, type KeyRecord } from '#core/keying/key-record.js';
import { crypto } from '#crypto';
import { countsKey, keyCountsCodec, noKeys } from '#server/key-server/release/key-counts.js';
import { keyPlace } from '#server/key-server/release/key-directory.js';
import { type StateOptions, vaultFolderOf } from '#server/key-server/release/open.js';
import { type Keyring, openKeyring } from '#server/key-server/store/keyring.js';
import { openLevelStore } from '#server/key-server/store/level.js';
import type { TenantKeys } from '#server/key-server/store/tenant-keys.js';
import { openVault } from '#server/key-server/store/vault/file-vault.js';

const batch = 1000;
/** So many erase keys the vault has ready; then it makes more. */
const together = 64;

export interface Filling {
  readonly folder: string;
  readonly options: StateOptions;
  /** Registered, with this policy, and without keys. */
  readonly tenantId: string;
  readonly policyId: string;
  readonly cvmName: string;
  readonly count: number;
  readonly progress?: (keys: number) => void;
}

/**
 * Puts active keys into a store that no server has open, sealed as a server seals them, about as
 * fast as they can be sealed: no request, no record in the log.
 * @returns some of their KeyIDs, spread over all
 */
export async function fillStore(filling: Filling): Promise<readonly Uint8Array[]> {
  const { folder, options, tenantId, policyId, count, progress } = filling;
  const { randomBytes, masterKey } = options;
  const store = await openLevelStore(folder, options);
  const vault = await openVault(options.vaultFolder ?? vaultFolderOf(folder));
  const keyring = await openKeyring(vault, { crypto, randomBytes, masterKey });
  const keys = await keyring.of(tenantId);
  const sample: Uint8Array[] = [];
  const stride = Math.ceil(count / 10_000);
  for (let made = 0; made < count; made += batch) {
    const puts = [];
    for (let i = made; i < Math.min(count, made + batch); i++) {
      if (i % together === 0) await keyring.readyErase();
      const record = newRecord(filling, keys, keyring);
      if (i % stride === 0) sample.push(record.keyId);
      const key = keyPlace(tenantId, record.keyId);
      const value = keys.records.seal(key, 1, encodeKeyRecord(record));
      puts.push({ key, value, expected: 0, version: 1 });
    }
    await store.commit({ puts });
    progress?.(Math.min(count, made + batch));
  }
  const key = countsKey(tenantId, policyId);
  const counts = keyCountsCodec.encode([count, ...noKeys.slice(1)]);
  const put = keys.records.put(key, 0, counts);
  await store.commit({ puts: [{ ...put, value: put.seal() }] });
  await keyring.close();
  await store.close();
  return sample;
}

function newRecord(
  { tenantId, policyId, cvmName, options }: Filling,
  keys: TenantKeys,
  keyring: Keyring,
): KeyRecord {
  const now = options.now();
  const keyId = options.randomBytes(16);
  const rootKey = options.randomBytes(rootKeyLength);
  const erase = keyring.newErase();
  const wrapped = keys.wrapRootKey(rootKey, { tenantId, keyId, epoch: 1 }, erase);
  erase.key.fill(0);
  rootKey.fill(0);
  return {
    keyId,
    tenantId,
    policyId,
    cvmName,
    purpose: 'disk',
    length: 32,
    appContext: new Uint8Array(),
    epoch: 1,
    roots: [{ epoch: 1, wrapped, created: now, confirmed: now }],
    svnFloor: 1,
    svnRetired: 1,
    state: 'active',
    revision: 1,
    created: now,
    activated: now,
    stateSince: now,
    released: now,
    compromisedEpoch: 0,
    compromisedSince: 0,
    agentsRetireEpochs: false,
    destruction: undefined,
    lease: undefined,
  };
}
