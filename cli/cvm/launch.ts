import type { Client } from '@connectrpc/connect';
import { equalBytes, toHex } from '#core/bytes.js';
import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { encodeIdBlock, signIdBlock } from '#core/snp/launch/id-block.js';
import { launchMeasurement } from '#core/snp/launch/measure.js';
import { crypto } from '#crypto';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import type {
  CVMFeatureResponse,
  Cvm,
  CvmService,
  ImageInfo,
  TeeFeatures,
} from '#gen/cvmp/v1/platform_pb.js';
import { launchInputs } from '#wire/launch.js';
import { readKeyFile } from '../profile/key-file.js';
import type { Profile } from '../profile/profile.js';

/** Guest POLICY that CVMs are launched with: SMT allowed, nothing else. */
export const guestPolicy = 0x30000n;
/** SEV_FEATURES: SNP is active, nothing else. */
export const guestFeatures = 1n;

/** What a tenant means to launch; everything here enters the measurement. */
export interface Launch {
  readonly image: ImageInfo;
  /** The bytes; their digest is `firmwareDigest`. */
  readonly firmware: Uint8Array;
  readonly firmwareDigest: Uint8Array;
  readonly vcpus: number;
  readonly vcpuType: string;
  readonly vmmType: string;
  readonly guestFeatures: bigint;
}

/** MEASUREMENT that such a launch will show, 48 bytes, computed here. */
export function expectedMeasurement(launch: Launch): Uint8Array {
  const { image, firmware } = launch;
  const { kernelDigest, initrdDigest, cmdline } = image;
  const message = { ...launch, kernelDigest, initrdDigest, cmdline };
  return launchMeasurement(launchInputs(message, firmware));
}

/** The platform's offer for SEV-SNP. @throws CvmpError FEATURE_UNSUPPORTED */
export function snpOffer(features: CVMFeatureResponse): TeeFeatures {
  const offer = features.teeFeatures.find(({ tee }) => tee === TeeType.SEV_SNP);
  if (offer === undefined) {
    throw new CvmpError('FEATURE_UNSUPPORTED', 'the platform offers no SEV-SNP', { field: 'tee' });
  }
  return offer;
}

/**
 * The image that somebody names: its name, its digest in hex, or at least 8 digits of it.
 * @throws CvmpError IMAGE_UNKNOWN
 */
export function findImage(images: readonly ImageInfo[], typed: string): ImageInfo {
  const isPrefix = /^[0-9a-f]{8,64}$/.test(typed);
  const found = images.filter(
    ({ name, digest }) => name === typed || (isPrefix && toHex(digest).startsWith(typed)),
  );
  const [image] = found;
  if (image !== undefined && found.length === 1) return image;
  const known = images.map(({ name }) => name).join(', ') || 'none';
  const why = found.length === 0 ? 'the platform has no such image' : 'several images fit';
  throw new CvmpError('IMAGE_UNKNOWN', `${typed}: ${why}; it has ${known}`, { field: 'image' });
}

/**
 * The firmware of an image, from a file of the tenant's or from the platform; either way its digest
 * must be the image's.
 * @throws CvmpError IMAGE_UNKNOWN where it is another
 */
export async function imageFirmware(
  cvms: Client<typeof CvmService>,
  image: ImageInfo,
  own: Uint8Array | undefined,
): Promise<Uint8Array> {
  const firmware = own ?? (await cvms.cVMImage({ digest: image.digest })).firmware;
  const digest = crypto.hash('sha256', firmware);
  if (equalBytes(digest, image.firmwareDigest)) return firmware;
  const whose = own === undefined ? 'that the platform sent' : 'in your file';
  const why = `the firmware ${whose} has SHA-256 ${toHex(digest)}, the image names another`;
  throw new CvmpError('IMAGE_UNKNOWN', why, { field: 'firmware' });
}

/**
 * The config document of one of this tenant's CVMs: which Key Server it may ask, whose policies
 * hold, what it is called (protocol.md s.6.1). Deterministic CBOR.
 * @throws CvmpError CONFIG, USAGE
 */
export async function configDocument(profile: Profile, cvmName: string): Promise<Uint8Array> {
  const { tenant, tenantKey, keyServer, file } = profile;
  if (tenant === undefined || tenantKey === undefined || keyServer === undefined) {
    throw new CvmpError('CONFIG', `${file} must name tenant, tenant_key and key_server`);
  }
  const key = await readKeyFile(tenantKey);
  return encodeConfigDocument({
    tenantId: tenant,
    keyServers: [thumbprint(keyServer.identityKey)],
    policyAnchor: thumbprint(ecPublicKey(key.curve, key.publicPoint)),
    cvmName,
  });
}

/**
 * An ID block that lets only this launch have this SVN, signed by the tenant's ID key.
 * @throws CvmpError CONFIG, USAGE
 */
export async function signedIdBlock(
  profile: Profile,
  measurement: Uint8Array,
  svn: number,
): Promise<{ readonly idBlock: Uint8Array; readonly idAuth: Uint8Array }> {
  if (profile.idBlockKey === undefined) {
    const why = `${profile.file} has no id_block_key, and an SVN needs a signed ID block`;
    throw new CvmpError('CONFIG', why, { field: 'id_block_key' });
  }
  const key = await readKeyFile(profile.idBlockKey, 'P-384');
  const idBlock = encodeIdBlock({
    measurement,
    familyId: new Uint8Array(16),
    imageId: new Uint8Array(16),
    guestSvn: svn,
    guestPolicy,
  });
  return { idBlock, idAuth: await signIdBlock(idBlock, key) };
}

/**
 * Holds what the platform says that it launched against what was meant. The platform could still
 * lie; then the evidence of the CVM shows another measurement, and no key is released.
 * @throws CvmpError POLICY_MEASUREMENT, CONFIG_MISMATCH
 */
export function requireLaunched(
  cvm: Cvm,
  launch: Launch,
  measurement: Uint8Array,
  configDocument: Uint8Array,
): void {
  const refuse = (what: string) => {
    const why = `${cvm.name} is not what was asked for: ${what}`;
    return new CvmpError('POLICY_MEASUREMENT', why, { field: 'launch_inputs' });
  };
  const inputs = cvm.launchInputs;
  if (inputs === undefined) throw refuse('the platform does not say what it launched');
  if (!equalBytes(inputs.firmwareDigest, launch.firmwareDigest)) throw refuse('another firmware');
  const launched = launchMeasurement(launchInputs(inputs, launch.firmware));
  if (!equalBytes(launched, measurement)) {
    throw refuse(`measurement ${toHex(launched)}, expected ${toHex(measurement)}`);
  }
  if (inputs.guestPolicy !== guestPolicy) {
    throw refuse(`guest policy 0x${inputs.guestPolicy.toString(16)}`);
  }
  if (!equalBytes(cvm.predictedMeasurement, measurement)) {
    throw refuse(`the platform itself predicts measurement ${toHex(cvm.predictedMeasurement)}`);
  }
  if (!equalBytes(cvm.configDocumentDigest, crypto.hash('sha256', configDocument))) {
    const why = `${cvm.name} has another config document`;
    throw new CvmpError('CONFIG_MISMATCH', why, { field: 'config_document' });
  }
}
