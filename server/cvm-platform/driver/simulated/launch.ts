import { readFile } from 'node:fs/promises';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { SimulatedGuest } from '#sim/guest.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import { launchInputs } from '#wire/launch.js';
import type { CvmDefinition, LaunchPlan } from '../driver.js';

/** SEV_FEATURES: SNP is active, nothing else. */
const guestFeatures = 1n;
export const vmmType = 'QEMU';
/** CPU models of guests, the default first. */
export const vcpuTypes = ['EPYC-v4', 'EPYC-Milan', 'EPYC-Genoa', 'EPYC-Turin'] as const;

/**
 * Reads what is to be launched as it lies there now, and launches it: as on real hardware, the
 * measurement tells what was loaded, not what somebody said would be.
 * @param options.identified whether the ID block goes along; without it nothing is refused for it
 * @throws CvmpError LAUNCH_REFUSED, DRIVER where a file cannot be read
 */
export async function launch(
  processor: SecurityProcessor,
  definition: Omit<CvmDefinition, 'cvmId'>,
  options: { readonly identified: boolean },
): Promise<{ guest: SimulatedGuest; plan: LaunchPlan }> {
  const { image, snp, vcpus, vcpuType } = definition;
  const firmware = await readLaunchFile(image.firmware.path);
  const kernelDigest = crypto.hash('sha256', await readLaunchFile(image.kernel.path));
  const initrdDigest = crypto.hash('sha256', await readLaunchFile(image.initrd.path));
  const { cmdline, imageDigest } = image;
  const named = { kernelDigest, initrdDigest, cmdline, vcpus, vcpuType, guestFeatures, vmmType };
  const guest = await processor.launch({
    inputs: launchInputs(named, firmware),
    guestPolicy: snp.guestPolicy,
    hostData: crypto.hash('sha256', definition.configDocument),
    ...(options.identified && snp.id && { idBlock: snp.id.block, idAuth: snp.id.auth }),
  });
  const plan: LaunchPlan = {
    ...named,
    imageDigest,
    firmwareDigest: crypto.hash('sha256', firmware),
    guestPolicy: snp.guestPolicy,
    measurement: guest.measurement,
  };
  return { guest, plan };
}

async function readLaunchFile(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new CvmpError('DRIVER', `${path} cannot be read`, { cause });
  }
}
