import { deriveSecurityKey, keyCheckValue } from '#core/keying/derivation.js';
import type { KeyRecord } from '#core/keying/key-record.js';
import type { Release } from '#core/keying/rules.js';
import type { TenantKeys } from '../store/keyring.js';
import type { ReleasedKey } from './contract.js';
import type { Scene } from './scene.js';

/** The caller zeroises the result. @throws CvmpError STORE_CORRUPT */
export function deriveOnce(keys: TenantKeys, record: KeyRecord, svn: number): Uint8Array {
  const rootKey = keys.unwrapRootKey(record.wrappedRootKey, record);
  const securityKey = deriveSecurityKey(rootKey, record, svn);
  rootKey.fill(0);
  return securityKey;
}

/** The Security Key that a durable decision released. @throws CvmpError STORE_CORRUPT */
export function reveal(
  { keys, proven, policy }: Pick<Scene, 'keys' | 'proven' | 'policy'>,
  record: KeyRecord,
  release: Release,
): ReleasedKey {
  const { svn, svnFloor, svnRetired, rekeyAdvised } = release;
  const securityKey = deriveOnce(keys, record, svn);
  return {
    keyId: record.keyId,
    securityKey,
    svn,
    svnFloor,
    svnRetired,
    epoch: record.epoch,
    kcv: keyCheckValue(securityKey),
    level: proven.level,
    rekeyAdvised,
    policyDigest: policy.digest,
  };
}
