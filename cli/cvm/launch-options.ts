import type { Client } from '@connectrpc/connect';
import { equalBytes, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { CVMFeatureResponse, CvmService } from '#gen/cvmp/v1/platform_pb.js';
import type { CommandContext } from '../command.js';
import { withReferenceValues } from '../measure/reference-values.js';
import { parsePolicy } from '../policy/policy-file.js';
import { readTypedBytes, readTypedText, wholeNumber } from '../terminal/typed.js';
import { findImage, guestFeatures, imageFirmware, type Launch, snpOffer } from './launch.js';

/** Options that say what is launched; all of it enters the measurement. */
export const launchOptions = {
  image: {
    type: 'string',
    value: 'IMAGE',
    summary: 'Name or digest of an image: cvmp image list.',
  },
  vcpus: { type: 'string', value: 'N', summary: 'Virtual CPUs; 1 unless told.' },
  'vcpu-type': {
    type: 'string',
    value: 'TYPE',
    summary: 'CPU model; the first that is offered unless told.',
  },
  firmware: {
    type: 'string',
    value: 'FILE',
    summary: "Your own copy of the image's firmware, in place of asking the platform for it.",
  },
  'auxilary-firmware': {
    type: 'string',
    value: 'FILE',
    summary: "Firmware to launch in place of the image's (AuxilaryFirmware).",
  },
} as const;

/** What was typed of {@link launchOptions}. */
export type TypedLaunch = { readonly [K in keyof typeof launchOptions]: string | undefined };

/**
 * What is to be launched, by what was typed and what the platform offers.
 * @throws CvmpError USAGE, IMAGE_UNKNOWN, FEATURE_UNSUPPORTED
 */
export async function planLaunch(
  typed: TypedLaunch,
  features: CVMFeatureResponse,
  cvms: Client<typeof CvmService>,
  context: CommandContext,
): Promise<Launch> {
  if (typed.image === undefined) throw new CvmpError('USAGE', '--image is missing');
  if (typed.firmware !== undefined && typed['auxilary-firmware'] !== undefined) {
    throw new CvmpError('USAGE', '--firmware and --auxilary-firmware exclude each other');
  }
  const vcpus = wholeNumber(typed.vcpus, 'vcpus', { min: 1, max: 512, otherwise: 1 });
  const offer = snpOffer(features);
  const image = findImage(features.images, typed.image);
  const file = typed['auxilary-firmware'] ?? typed.firmware;
  const own = file === undefined ? undefined : await readTypedBytes(context, file);
  const firmware =
    typed['auxilary-firmware'] === undefined ? await imageFirmware(cvms, image, own) : own!;
  return {
    image,
    firmware,
    firmwareDigest: crypto.hash('sha256', firmware),
    vcpus,
    vcpuType: typed['vcpu-type'] ?? offer.vcpuTypes[0] ?? '',
    vmmType: offer.vmmType,
    guestFeatures,
  };
}

/**
 * Refuses what a policy file does not admit, before anything is launched.
 * @throws CvmpError POLICY_MEASUREMENT
 */
export async function requireAdmitted(
  policyFile: string,
  referenceValues: readonly string[],
  measurement: Uint8Array,
  context: CommandContext,
): Promise<void> {
  const { message } = parsePolicy(await readTypedText(context, policyFile), policyFile);
  await withReferenceValues(message, referenceValues, context);
  const admitted = message.appraisal?.snp?.measurements ?? [];
  if (admitted.some(({ digest }) => equalBytes(digest, measurement))) return;
  const why = `${policyFile} does not admit measurement ${toHex(measurement)}`;
  throw new CvmpError('POLICY_MEASUREMENT', why, { field: 'appraisal.snp.measurements' });
}
