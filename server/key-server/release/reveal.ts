import type { HmacKey } from '#core/crypto.js';
import { derivationInfo, expandSecurityKey, keyCheckValue } from '#core/keying/derivation.js';
import type { KeyRecord } from '#core/keying/key-record.js';
import { type Release, rootOf } from '#core/keying/rules.js';
import type { TenantKeys } from '../store/tenant-keys.js';
import type { ReleasedKey } from './contract.js';
import type { Scene } from './scene.js';

/** What of a derivation is the same each time, and no Security Key: kept while the record is. */
interface Derivation {
  readonly rootKey: HmacKey;
  readonly epoch: number;
  readonly svn: number;
  readonly info: Uint8Array;
  readonly kcv: Uint8Array;
}

// Unwrapping, encoding and checking cost four times what the derivation itself does (measured).
const kept = new WeakMap<KeyRecord, Derivation>();

interface Derived {
  /** The caller zeroises it. */
  readonly securityKey: Uint8Array;
  /** Key check value (8 bytes). */
  readonly kcv: Uint8Array;
}

/** @throws CvmpError STORE_CORRUPT */
export function derive(
  keys: TenantKeys,
  record: KeyRecord,
  { svn, epoch }: Pick<Release, 'svn' | 'epoch'>,
): Derived {
  const known = kept.get(record);
  const sameRoot = known?.epoch === epoch;
  if (sameRoot && known.svn === svn) {
    return {
      securityKey: expandSecurityKey(known.rootKey, known.info, record.length),
      kcv: known.kcv,
    };
  }
  const { tenantId, keyId } = record;
  const rootKey = sameRoot
    ? known.rootKey
    : keys.unwrapRootKey(rootOf(record, epoch).wrapped, { tenantId, keyId, epoch });
  const info = derivationInfo({ ...record, epoch }, svn);
  const securityKey = expandSecurityKey(rootKey, info, record.length);
  const kcv = keyCheckValue(securityKey);
  kept.set(record, { rootKey, epoch, svn, info, kcv });
  return { securityKey, kcv };
}

/** The Security Key that a durable decision released. @throws CvmpError STORE_CORRUPT */
export function reveal(
  { keys, proven, policy }: Pick<Scene, 'keys' | 'proven' | 'policy'>,
  record: KeyRecord,
  release: Release,
): ReleasedKey {
  const { svn, epoch, svnFloor, svnRetired, rekeyAdvised, rekeySvn } = release;
  const { securityKey, kcv } = derive(keys, record, release);
  return {
    keyId: record.keyId,
    securityKey,
    svn,
    svnFloor,
    svnRetired,
    epoch,
    kcv,
    level: proven.level,
    rekeyAdvised,
    rekeySvn,
    policyDigest: policy.digest,
  };
}
