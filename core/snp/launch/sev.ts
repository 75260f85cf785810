import { crypto } from '#crypto';
import { malformedFirmware } from '../../firmware/footer-table.js';
import { type Firmware, parseFirmware } from './firmware.js';
import { type BootInputs, kernelHashTable } from './kernel-hashes.js';
import { type VcpuInputs, vmsaPages } from './measure.js';

/** What enters the launch digest of a SEV guest. */
export interface SevLaunchInputs {
  /** OVMF image. */
  readonly firmware: Uint8Array;
  /** Kernel, initrd and command line of a measured direct boot. */
  readonly boot: BootInputs | undefined;
}

/** What enters the launch digest of a SEV-ES guest: its vCPUs too; SEV_FEATURES is 0. */
export interface SevEsLaunchInputs
  extends SevLaunchInputs,
    Pick<VcpuInputs, 'vcpus' | 'cpuSignature' | 'vmmType'> {}

/**
 * Launch digest of a SEV guest (LAUNCH_MEASURE, SEV API s.6.5; without nonce and key): SHA-256 of
 * firmware and table of kernel hashes. CVMP admits no such guest; this is for comparing.
 * @returns 32 bytes
 * @throws CvmpError MALFORMED
 */
export function sevLaunchDigest({ firmware, boot }: SevLaunchInputs): Uint8Array {
  const parsed = parseFirmware(firmware);
  return crypto.hash('sha256', parsed.bytes, ...hashTable(parsed, boot));
}

/** Launch digest of a SEV-ES guest: as SEV, then the initial state of each vCPU. 32 bytes. */
export function sevEsLaunchDigest(inputs: SevEsLaunchInputs): Uint8Array {
  const firmware = parseFirmware(inputs.firmware);
  const pages = vmsaPages(firmware, { ...inputs, guestFeatures: 0n });
  return crypto.hash('sha256', firmware.bytes, ...hashTable(firmware, inputs.boot), ...pages);
}

function hashTable(firmware: Firmware, boot: BootInputs | undefined): readonly Uint8Array[] {
  if (boot === undefined) return [];
  if (firmware.hashTableGpa === undefined) {
    throw malformedFirmware('has no place for the hashes of a kernel');
  }
  return [kernelHashTable(boot)];
}
