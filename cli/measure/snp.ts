import { fromHex, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { BootInputs } from '#core/snp/launch/kernel-hashes.js';
import {
  firmwarePagesDigest,
  launchMeasurement,
  svsmLaunchMeasurement,
} from '#core/snp/launch/measure.js';
import { sevEsLaunchDigest, sevLaunchDigest } from '#core/snp/launch/sev.js';
import { vcpuTypes } from '#core/snp/launch/vcpu-types.js';
import type { VmmType } from '#core/snp/launch/vmsa.js';
import { crypto } from '#crypto';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import type { CommandContext } from '../command.js';
import { expectedMeasurement, guestFeatures } from '../cvm/launch.js';
import { type launchOptions, planLaunch } from '../cvm/launch-options.js';
import { wholeNumber } from '../terminal/typed.js';
import { type Inputs, oneOf } from './inputs.js';

/** What can be measured of a SEV guest; the first is the usual. */
export const snpModes = ['snp', 'snp-svsm', 'firmware-pages', 'sev', 'sev-es'] as const;
export type SnpMode = (typeof snpModes)[number];

/** Options of what is launched, beside those of an image of the platform. */
export const snpFileOptions = {
  kernel: { type: 'string', value: 'FILE', summary: 'Kernel of a measured direct boot.' },
  initrd: { type: 'string', value: 'FILE', summary: 'Initrd of a measured direct boot.' },
  cmdline: { type: 'string', value: 'TEXT', summary: 'Command line of a measured direct boot.' },
  'cpu-signature': {
    type: 'string',
    value: 'HEX',
    summary: 'CPUID Fn0000_0001_EAX of the guest, in place of --vcpu-type.',
  },
  'guest-features': {
    type: 'string',
    value: 'HEX',
    summary: 'SEV_FEATURES of the guest; 1 (SNP alone) unless told.',
  },
  vmm: { type: 'string', value: 'VMM', summary: 'qemu, ec2 or gce; qemu unless told.' },
  svsm: { type: 'string', value: 'FILE', summary: 'SVSM image that lies below the firmware.' },
  'variable-store-bytes': {
    type: 'string',
    value: 'N',
    summary: 'Length of the variable store between firmware and SVSM; 0 unless told.',
  },
  'firmware-pages-digest': {
    type: 'string',
    value: 'HEX',
    summary: 'Digest of all pages of the firmware, where --firmware has only its last ones.',
  },
  mode: {
    type: 'string',
    value: 'MODE',
    summary: `${snpModes.join(', ')}; snp, or snp-svsm with --svsm, unless told.`,
  },
} as const;

type Names = keyof typeof snpFileOptions | keyof typeof launchOptions;
/** What was typed of both. */
export type TypedSnp = { readonly [K in Names]: string | undefined };

/** A value, and fields of the answer for scripts. */
export interface SnpMeasurement {
  readonly mode: SnpMode;
  readonly digest: Uint8Array;
  readonly json: { readonly [key: string]: string | number | bigint };
  /** Name of the reference value where nobody gives one. */
  readonly name: string;
}

/** From an image that the platform has. @throws CvmpError USAGE, IMAGE_UNKNOWN, FEATURE_UNSUPPORTED */
export async function measureImage(
  typed: TypedSnp,
  inputs: Inputs,
  context: CommandContext,
): Promise<SnpMeasurement> {
  const own = Object.keys(snpFileOptions) as (keyof typeof snpFileOptions)[];
  const unfit = own.find((name) => typed[name] !== undefined);
  if (unfit !== undefined) {
    throw new CvmpError('USAGE', `--image says all of the launch; --${unfit} is for files`);
  }
  const cvms = (await context.servers()).cvms();
  const features = await cvms.cVMFeature({ teeTypes: [TeeType.SEV_SNP] });
  const launch = await planLaunch(typed, features, cvms, context);
  const { image, vcpus, vcpuType, vmmType } = launch;
  inputs.note('image', `${image.name} (${toHex(image.digest)})`);
  inputs.note('firmware', `SHA-256 ${toHex(launch.firmwareDigest)}`);
  inputs.note('kernel', `SHA-256 ${toHex(image.kernelDigest)}`);
  inputs.note('initrd', `SHA-256 ${toHex(image.initrdDigest)}`);
  inputs.note('command line', image.cmdline);
  noteVcpus(inputs, vcpus, vcpuType, launch.guestFeatures, vmmType);
  return {
    mode: 'snp',
    digest: expectedMeasurement(launch),
    name: `${image.name}, ${vcpus} vCPU`,
    json: {
      image: image.name,
      image_digest: toHex(image.digest),
      firmware_digest: toHex(launch.firmwareDigest),
      kernel_digest: toHex(image.kernelDigest),
      initrd_digest: toHex(image.initrdDigest),
      cmdline: image.cmdline,
      vcpus,
      vcpu_type: vcpuType,
      vmm_type: vmmType,
      guest_features: launch.guestFeatures,
    },
  };
}

function noteVcpus(
  inputs: Inputs,
  vcpus: number,
  cpu: string,
  features: bigint,
  vmm: string,
): void {
  inputs.note('vCPUs', `${vcpus} of ${cpu}`);
  inputs.note('SEV_FEATURES', `0x${features.toString(16)}`);
  inputs.note('VMM', vmm);
}

/** From files, without any server. @throws CvmpError USAGE, MALFORMED, SIZE */
export async function measureFiles(typed: TypedSnp, inputs: Inputs): Promise<SnpMeasurement> {
  if (typed.firmware === undefined) {
    throw new CvmpError('USAGE', '--image IMAGE or --firmware FILE is missing');
  }
  const usual = typed.svsm === undefined ? 'snp' : 'snp-svsm';
  const mode = oneOf(typed.mode, 'mode', snpModes, usual);
  inputs.note('mode', mode);
  const firmware = await inputs.file('firmware', typed.firmware);
  const digest = await measurers[mode](typed, firmware, inputs);
  const firmwareDigest = toHex(crypto.hash('sha256', firmware));
  return { mode, digest, json: { firmware_digest: firmwareDigest }, name: typed.firmware };
}

type Measure = (typed: TypedSnp, firmware: Uint8Array, inputs: Inputs) => Promise<Uint8Array>;

/** Each mode; what it does not look at stays unread. */
const measurers: Readonly<Record<SnpMode, Measure>> = {
  async snp(typed, firmware, inputs) {
    const boot = await readBoot(typed, inputs);
    const pages = typed['firmware-pages-digest'];
    if (pages !== undefined) inputs.note('firmware pages', pages);
    const digest = pages === undefined ? {} : { firmwarePagesDigest: fromHex(pages) };
    return launchMeasurement({ firmware, boot, ...readVcpus(typed, inputs), ...digest });
  },
  async 'snp-svsm'(typed, firmware, inputs) {
    if (typed.svsm === undefined) throw new CvmpError('USAGE', '--svsm FILE is missing');
    if (typed.kernel !== undefined) {
      throw new CvmpError('USAGE', 'under an SVSM the hashes of a kernel are not measured');
    }
    const svsm = await inputs.file('SVSM', typed.svsm);
    const range = { min: 0, max: 2 ** 26, otherwise: 0 };
    const name = 'variable-store-bytes';
    const variableStoreLength = wholeNumber(typed[name], name, range);
    inputs.note('variable store', `${variableStoreLength} bytes`);
    return svsmLaunchMeasurement({
      firmware,
      svsm,
      variableStoreLength,
      ...readVcpus(typed, inputs),
    });
  },
  async 'firmware-pages'(_, firmware) {
    return firmwarePagesDigest(firmware);
  },
  async sev(typed, firmware, inputs) {
    return sevLaunchDigest({ firmware, boot: await readBoot(typed, inputs) });
  },
  async 'sev-es'(typed, firmware, inputs) {
    const boot = await readBoot(typed, inputs);
    return sevEsLaunchDigest({ firmware, boot, ...readVcpus(typed, inputs) });
  },
};

async function readBoot(typed: TypedSnp, inputs: Inputs): Promise<BootInputs | undefined> {
  const { kernel, initrd, cmdline = '' } = typed;
  if (kernel === undefined) {
    if (initrd === undefined && cmdline === '') return undefined;
    throw new CvmpError('USAGE', '--initrd and --cmdline need --kernel');
  }
  const digest = (bytes: Uint8Array | undefined) =>
    crypto.hash('sha256', bytes ?? new Uint8Array());
  const boot = {
    kernelDigest: digest(await inputs.file('kernel', kernel)),
    initrdDigest: digest(await inputs.optional('initrd', initrd)),
    cmdline,
  };
  inputs.note('command line', cmdline);
  return boot;
}

const vmms: Readonly<Record<string, VmmType>> = { qemu: 'QEMU', ec2: 'EC2', gce: 'GCE' };
const defaultVcpuType = 'EPYC-v4';

function readVcpus(typed: TypedSnp, inputs: Inputs) {
  const vcpus = wholeNumber(typed.vcpus, 'vcpus', { min: 1, max: 512, otherwise: 1 });
  const vmmType = vmms[oneOf(typed.vmm, 'vmm', ['qemu', 'ec2', 'gce'], 'qemu')]!;
  const features = hexNumber(typed['guest-features'], 'guest-features', guestFeatures);
  const { name, signature } = readCpu(typed);
  noteVcpus(inputs, vcpus, name, features, vmmType);
  return { vcpus, vmmType, guestFeatures: features, cpuSignature: signature };
}

function readCpu(typed: TypedSnp): { readonly name: string; readonly signature: number } {
  const given = typed['cpu-signature'];
  if (given !== undefined) {
    const signature = Number(hexNumber(given, 'cpu-signature', 0n) & 0xffff_ffffn);
    return { name: `CPU signature 0x${signature.toString(16)}`, signature };
  }
  const name = typed['vcpu-type'] ?? defaultVcpuType;
  const signature = Object.hasOwn(vcpuTypes, name) ? vcpuTypes[name] : undefined;
  if (signature === undefined) {
    const known = Object.keys(vcpuTypes).join(', ');
    throw new CvmpError('USAGE', `--vcpu-type must be one of ${known}`, { field: 'vcpu-type' });
  }
  return { name, signature };
}

function hexNumber(typed: string | undefined, option: string, otherwise: bigint): bigint {
  if (typed === undefined) return otherwise;
  if (!/^(0x)?[0-9a-fA-F]{1,16}$/.test(typed)) {
    throw new CvmpError('USAGE', `--${option} must be a number in hex`, { field: option });
  }
  return BigInt(`0x${typed.replace(/^0x/, '')}`);
}
