import { ByteReader, equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { contentDigest } from './content-digest.js';
import type { SnpLaunch, Tee, TeeCapabilities } from './driver/driver.js';
import type { LaunchSpec } from './lifecycle/cvm.js';

/** Limits that the operator sets; a tenant learns them with the features. */
export interface OfferLimits {
  readonly vcpusMax: number;
  readonly memoryMibMax: number;
  readonly diskMibMax: number;
  readonly cvmsMax: number;
  /** Largest firmware that a tenant may bring, bytes. */
  readonly firmwareBytesMax: number;
}

/** What is offered for one kind of TEE (CVMFeatureResponse, draft s.3.1). */
export interface TeeOffer extends TeeCapabilities, OfferLimits {
  /** Largest SVN of a guest; 0: a tenant cannot set it. */
  readonly svnMax: number;
}

/** The offer of the platform. */
export interface Offer {
  /** SHA-256 over everything in `tees`: another offer has another id. */
  readonly featureSetId: Uint8Array;
  readonly tees: readonly TeeOffer[];
}

/** What a tenant asks for, shape and features, before anything is granted. */
export interface WantedLaunch {
  readonly tee: Tee;
  /** 0: the default. */
  readonly vcpus: number;
  /** 0: the default. */
  readonly memoryMib: number;
  /** Empty: the first that is offered. */
  readonly vcpuType: string;
  readonly imageDigest: Uint8Array;
  readonly secureBoot: boolean;
  readonly liveMigration: boolean;
  readonly auxilaryFirmware: Uint8Array;
  readonly bios: ReadonlyMap<string, string>;
  /** 0: none. */
  readonly svn: number;
  readonly snp: WantedSnp | undefined;
  readonly configDocument: Uint8Array;
  readonly keyServerAddress: string;
  readonly keyId: Uint8Array;
  /** 0: the default. */
  readonly diskMib: number;
}

/** Launch parameters of an SNP guest as a tenant sends them; empty where absent. */
export interface WantedSnp {
  /** 0: the default. */
  readonly guestPolicy: bigint;
  readonly idBlock: Uint8Array;
  readonly idAuth: Uint8Array;
}

const defaults = { vcpus: 1, memoryMib: 512, diskMib: 64 } as const;
/** What the Key Agent's disk header leaves room beside. */
const diskMibMin = 8;

/** Guest POLICY (SEV-SNP ABI, "Guest Policy"). */
const policyBits = {
  defaultValue: 0x30000n,
  /** Reserved, must be one. */
  one: 1n << 17n,
  migrateMa: 1n << 18n,
  debug: 1n << 19n,
  /** Bits 63 to 26 are reserved, must be zero. */
  reserved: ~0n << 26n,
} as const;

export function makeOffer(capabilities: readonly TeeCapabilities[], limits: OfferLimits): Offer {
  const tees = capabilities.map((tee) => ({
    ...tee,
    ...limits,
    firmwareBytesMax: tee.firmwareFormats.length > 0 ? limits.firmwareBytesMax : 0,
    svnMax: tee.idBlock ? 0xffff_ffff : 0,
  }));
  return { featureSetId: contentDigest(tees), tees };
}

/** @throws CvmpError FEATURE_SET_STALE */
export function demandCurrent(offer: Offer, featureSetId: Uint8Array): void {
  if (!equalBytes(offer.featureSetId, featureSetId)) {
    throw new CvmpError('FEATURE_SET_STALE', 'the offer has changed', { field: 'feature_set_id' });
  }
}

/**
 * Grants exactly what is asked for, or nothing: a feature that is not offered is refused, never
 * dropped.
 * @throws CvmpError FEATURE_UNSUPPORTED, POLICY_DEBUG, INVALID_FIELD, each naming the field
 */
export function grant(offer: Offer, wanted: WantedLaunch): LaunchSpec {
  const tee = offer.tees.find((t) => t.tee === wanted.tee);
  if (tee === undefined) throw unsupported('tee', `no ${wanted.tee} here`);
  grantFeatures(tee, wanted);
  const shape = grantShape(tee, wanted);
  const snp = grantSnp(tee, wanted.snp);
  grantSvn(tee, wanted.svn, snp);
  if (tee.configDigestBytes === 0) {
    throw unsupported('config_document', `${tee.tee} cannot bind one here`);
  }
  const { imageDigest, secureBoot, liveMigration, bios, svn } = wanted;
  const { configDocument, keyServerAddress, keyId } = wanted;
  return {
    tee: tee.tee,
    ...shape,
    imageDigest,
    ...(wanted.auxilaryFirmware.length > 0 && {
      firmwareDigest: crypto.hash('sha256', wanted.auxilaryFirmware),
    }),
    snp,
    secureBoot,
    liveMigration,
    bios,
    svn,
    configDocument,
    keyServerAddress,
    ...(keyId.length > 0 && { keyId }),
  };
}

function grantFeatures(tee: TeeOffer, wanted: WantedLaunch): void {
  if (wanted.secureBoot && !tee.secureBoot.supported) {
    throw unsupported('features.secure_boot', 'secure boot is not offered');
  }
  if (wanted.liveMigration && !tee.liveMigration.supported) {
    throw unsupported('features.live_migration', 'live migration is not offered');
  }
  if (wanted.auxilaryFirmware.length > tee.firmwareBytesMax) {
    const what = `firmware of the tenant up to ${tee.firmwareBytesMax} bytes is offered`;
    throw unsupported('features.auxilary_firmware', what);
  }
  for (const name of wanted.bios.keys()) {
    if (!tee.biosSettings.includes(name)) {
      throw unsupported(`features.bios["${name}"]`, 'the BIOS setting is not offered');
    }
  }
}

function grantShape(
  tee: TeeOffer,
  wanted: WantedLaunch,
): Pick<LaunchSpec, 'vcpus' | 'memoryMib' | 'vcpuType' | 'diskMib'> {
  const vcpus = wanted.vcpus || defaults.vcpus;
  const memoryMib = wanted.memoryMib || defaults.memoryMib;
  const diskMib = wanted.diskMib || defaults.diskMib;
  const vcpuType = wanted.vcpuType || tee.vcpuTypes[0] || '';
  if (vcpus > tee.vcpusMax) throw unsupported('shape.vcpus', `at most ${tee.vcpusMax}`);
  if (memoryMib > tee.memoryMibMax) {
    throw unsupported('shape.memory_mib', `at most ${tee.memoryMibMax}`);
  }
  if (!tee.vcpuTypes.includes(vcpuType)) {
    throw unsupported('shape.vcpu_type', `one of ${tee.vcpuTypes.join(', ')}`);
  }
  if (diskMib < diskMibMin || diskMib > tee.diskMibMax) {
    throw unsupported('disk_mib', `${diskMibMin} to ${tee.diskMibMax}`);
  }
  return { vcpus, memoryMib, diskMib, vcpuType };
}

/** @throws CvmpError FEATURE_UNSUPPORTED, POLICY_DEBUG, INVALID_FIELD */
function grantSnp(tee: TeeOffer, wanted: WantedSnp | undefined): SnpLaunch {
  if (tee.tee !== 'sev-snp') {
    if (wanted !== undefined) throw unsupported('snp', `${tee.tee} has no SNP launch`);
    return { guestPolicy: 0n };
  }
  const guestPolicy = wanted?.guestPolicy || policyBits.defaultValue;
  const field = 'snp.guest_policy';
  if ((guestPolicy & policyBits.debug) !== 0n) {
    throw new CvmpError('POLICY_DEBUG', 'the guest policy allows debugging', { field });
  }
  if ((guestPolicy & policyBits.migrateMa) !== 0n && !tee.liveMigration.supported) {
    throw unsupported(field, 'MIGRATE_MA is set, live migration is not offered');
  }
  if ((guestPolicy & policyBits.one) === 0n || (guestPolicy & policyBits.reserved) !== 0n) {
    throw new CvmpError('INVALID_FIELD', 'reserved bits of the guest policy', { field });
  }
  if (wanted === undefined || wanted.idBlock.length + wanted.idAuth.length === 0) {
    return { guestPolicy };
  }
  if (!tee.idBlock) throw unsupported('snp.id_block', 'ID blocks are not offered');
  if (wanted.idBlock.length === 0 || wanted.idAuth.length === 0) {
    const missing = wanted.idBlock.length === 0 ? 'snp.id_block' : 'snp.id_auth';
    throw new CvmpError('INVALID_FIELD', `${missing} is missing`, { field: missing });
  }
  return { guestPolicy, id: { block: wanted.idBlock, auth: wanted.idAuth } };
}

/** GUEST_SVN and POLICY in the ID block (SEV-SNP ABI, "ID_BLOCK") must say what is asked for. */
function grantSvn(tee: TeeOffer, svn: number, snp: SnpLaunch): void {
  const field = 'features.svn';
  if (svn > tee.svnMax) throw unsupported(field, `at most ${tee.svnMax}`);
  if (snp.id === undefined) {
    if (svn === 0) return;
    throw new CvmpError('INVALID_FIELD', 'an SVN needs snp.id_block', { field });
  }
  const block = new ByteReader(snp.id.block, 'little', { offset: 84 });
  if (block.u32('guest_svn') !== svn) {
    throw new CvmpError('INVALID_FIELD', 'snp.id_block says another SVN', { field });
  }
  if (block.u64('policy') !== snp.guestPolicy) {
    const message = 'snp.id_block says another guest policy';
    throw new CvmpError('INVALID_FIELD', message, { field: 'snp.guest_policy' });
  }
}

function unsupported(field: string, what: string): CvmpError {
  return new CvmpError('FEATURE_UNSUPPORTED', `${field}: ${what}`, { field });
}
