import { CvmpError } from '../../errors.js';
import { malformedFirmware } from '../../firmware/footer-table.js';
import { type Firmware, pageLength, parseFirmware, sectionType } from './firmware.js';
import { type BootInputs, kernelHashPage } from './kernel-hashes.js';
import { digestLength, LaunchContext, pageType } from './launch-context.js';
import { bootEip, svsmVmsaPage, type VmmType, vmsaPage } from './vmsa.js';

const vcpusMax = 512;

/** What the initial state of vCPUs follows from. */
export interface VcpuInputs {
  /** 1 to 512. */
  readonly vcpus: number;
  /** CPUID Fn0000_0001_EAX of the guest. */
  readonly cpuSignature: number;
  /** SEV_FEATURES: bit 0 SNP active, bit 5 debug swap. */
  readonly guestFeatures: bigint;
  readonly vmmType: VmmType;
}

/** Everything that enters the launch measurement of an SNP guest. */
export interface LaunchInputs extends VcpuInputs {
  /** OVMF image, whole pages. */
  readonly firmware: Uint8Array;
  /** Kernel, initrd and command line of a measured direct boot. */
  readonly boot: BootInputs | undefined;
  /**
   * Digest after the pages of the firmware (48 bytes), where the caller has that and only the last
   * pages of the image.
   */
  readonly firmwarePagesDigest?: Uint8Array;
}

/**
 * Computes MEASUREMENT of a guest before it is launched (protocol.md s.5): the firmware, what its
 * metadata asks the hypervisor to prepare, then the initial state of each vCPU.
 * @returns 48 bytes
 * @throws CvmpError MALFORMED where the firmware is none, or has no place for what is to be booted
 */
export function launchMeasurement(inputs: LaunchInputs): Uint8Array {
  const { boot, vmmType, firmwarePagesDigest } = inputs;
  const firmware = parseFirmware(inputs.firmware);
  if (firmwarePagesDigest !== undefined && firmwarePagesDigest.length !== digestLength) {
    throw new CvmpError('SIZE', `a digest of firmware pages has ${digestLength} bytes`, {
      field: 'firmware_pages_digest',
    });
  }
  const context = new LaunchContext(firmwarePagesDigest);
  if (firmwarePagesDigest === undefined) {
    context.measure(pageType.normal, firmware.gpa, firmware.bytes);
  }
  measureSections(context, firmware, boot, vmmType);
  for (const page of vmsaPages(firmware, inputs)) context.vmsa(page);
  return context.digest;
}

/**
 * The launch digest after the pages of a firmware: what `firmwarePagesDigest` takes, so that a
 * verifier need not keep whole images.
 * @returns 48 bytes
 * @throws CvmpError MALFORMED
 */
export function firmwarePagesDigest(image: Uint8Array): Uint8Array {
  const { gpa, bytes } = parseFirmware(image);
  const context = new LaunchContext();
  context.measure(pageType.normal, gpa, bytes);
  return context.digest;
}

/** Initial state of each vCPU, boot processor first. @throws CvmpError MALFORMED */
export function vmsaPages(
  firmware: Firmware,
  { vcpus, vmmType, cpuSignature, guestFeatures }: VcpuInputs,
): readonly Uint8Array[] {
  requireVcpus(vcpus);
  const page = (eip: number) => vmsaPage(vmmType, eip, cpuSignature, guestFeatures);
  const first = page(bootEip);
  if (vcpus === 1) return [first];
  if (firmware.apEip === undefined) throw malformedFirmware('has no reset block for further vCPUs');
  return [first, ...new Array<Uint8Array>(vcpus - 1).fill(page(firmware.apEip))];
}

function requireVcpus(vcpus: number): void {
  if (Number.isInteger(vcpus) && vcpus >= 1 && vcpus <= vcpusMax) return;
  const why = `a guest has 1 to ${vcpusMax} vCPUs, not ${vcpus}`;
  throw new CvmpError('MALFORMED', why, { field: 'vcpus' });
}

/** What enters the launch measurement of a guest under an SVSM that QEMU loads beside OVMF. */
export interface SvsmLaunchInputs {
  /** OVMF image without its variable store, whole pages. */
  readonly firmware: Uint8Array;
  /** SVSM image (Coconut's `svsm.bin`), whole pages; lies below firmware and variable store. */
  readonly svsm: Uint8Array;
  /** Bytes of the variable store that lies between the two; whole pages, 0 where there is none. */
  readonly variableStoreLength: number;
  /** 1 to 512. */
  readonly vcpus: number;
  /** CPUID Fn0000_0001_EAX of the guest. */
  readonly cpuSignature: number;
}

/**
 * MEASUREMENT of a guest whose vCPUs start in an SVSM at VMPL 0 (Coconut's QEMU): firmware, SVSM,
 * what the SVSM's metadata asks for, then the same state for each vCPU.
 * @returns 48 bytes
 * @throws CvmpError MALFORMED
 */
export function svsmLaunchMeasurement(inputs: SvsmLaunchInputs): Uint8Array {
  const { vcpus, variableStoreLength: gap } = inputs;
  requireVcpus(vcpus);
  const firmware = parseFirmware(inputs.firmware);
  if (!Number.isInteger(gap) || gap < 0 || gap % pageLength !== 0 || gap >= firmware.gpa) {
    const why = `a variable store of ${gap} bytes is not whole pages below the firmware`;
    throw new CvmpError('MALFORMED', why, { field: 'variable_store_length' });
  }
  const svsm = parseFirmware(inputs.svsm, firmware.gpa - gap);
  if (svsm.svsmEntry === undefined) throw malformedFirmware('given as SVSM does not say its entry');
  const context = new LaunchContext();
  context.measure(pageType.normal, firmware.gpa, firmware.bytes);
  context.measure(pageType.normal, svsm.gpa, svsm.bytes);
  measureSections(context, svsm, undefined, 'QEMU');
  const page = svsmVmsaPage(svsm.gpa + svsm.svsmEntry, inputs.cpuSignature);
  for (let i = 0; i < vcpus; i++) context.vmsa(page);
  return context.digest;
}

function measureSections(
  context: LaunchContext,
  { sections, hashTableGpa }: Firmware,
  boot: BootInputs | undefined,
  vmmType: VmmType,
): void {
  if (boot !== undefined && !sections.some(({ type }) => type === sectionType.kernelHashes)) {
    throw malformedFirmware('has no page for the hashes of a kernel');
  }
  for (const { gpa, size, type } of sections) {
    switch (type) {
      case sectionType.secMem:
        context.mark(vmmType === 'GCE' ? pageType.unmeasured : pageType.zero, gpa, size);
        break;
      case sectionType.secrets:
        context.mark(pageType.secrets, gpa, pageLength);
        break;
      case sectionType.cpuid:
        // EC2 adds this page last.
        if (vmmType !== 'EC2') context.mark(pageType.cpuid, gpa, pageLength);
        break;
      case sectionType.svsmCaa:
        context.mark(pageType.zero, gpa, size);
        break;
      case sectionType.kernelHashes:
        if (boot === undefined) {
          context.mark(pageType.zero, gpa, size);
        } else if (
          hashTableGpa === undefined ||
          Math.floor(hashTableGpa / pageLength) * pageLength !== gpa
        ) {
          throw malformedFirmware('has its hash table outside of the page for it');
        } else {
          context.measure(pageType.normal, gpa, kernelHashPage(boot, hashTableGpa));
        }
        break;
      default:
        throw malformedFirmware(`has a SEV metadata section of unknown type ${type}`);
    }
  }
  if (vmmType !== 'EC2') return;
  for (const { gpa, type } of sections) {
    if (type === sectionType.cpuid) context.mark(pageType.cpuid, gpa, pageLength);
  }
}
