import { crypto } from '#crypto';
import { concat } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import { type Firmware, pageLength, parseFirmware, sectionType } from './firmware.js';
import { type BootInputs, kernelHashPage } from './kernel-hashes.js';
import { bootEip, type VmmType, vmsaPage } from './vmsa.js';

/** Everything that enters the launch measurement of an SNP guest. */
export interface LaunchInputs {
  /** OVMF image, whole pages. */
  readonly firmware: Uint8Array;
  /** Kernel, initrd and command line of a measured direct boot. */
  readonly boot: BootInputs | undefined;
  /** 1 to 512. */
  readonly vcpus: number;
  /** CPUID Fn0000_0001_EAX of the guest. */
  readonly cpuSignature: number;
  /** SEV_FEATURES: bit 0 SNP active, bit 5 debug swap. */
  readonly guestFeatures: bigint;
  readonly vmmType: VmmType;
  /**
   * Digest after the pages of the firmware (48 bytes), where the caller has that and only the last
   * pages of the image.
   */
  readonly firmwarePagesDigest?: Uint8Array;
}

/** PAGE_TYPE of SNP_LAUNCH_UPDATE. */
const pageType = { normal: 1, vmsa: 2, zero: 3, unmeasured: 4, secrets: 5, cpuid: 6 } as const;

const digestLength = 48;
/** Address that VMSA pages are measured at: the last page of 48 bits. */
const vmsaGpa = 0xffff_ffff_f000;
/** Length of PAGE_INFO, written into itself. */
const pageInfoLength = 0x70;
const vcpusMax = 512;

/** The running launch digest: each page extends it by its PAGE_INFO (SEV-SNP ABI s.8.17). */
class LaunchContext {
  digest: Uint8Array;

  constructor(digest: Uint8Array) {
    this.digest = digest;
  }

  /** Pages whose contents count. */
  measure(type: number, gpa: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += pageLength) {
      const contents = crypto.hash('sha384', bytes.subarray(at, at + pageLength));
      this.#extend(type, gpa + at, contents);
    }
  }

  /** Pages of which only type and address count. */
  mark(type: number, gpa: number, size: number): void {
    for (let at = 0; at < size; at += pageLength) {
      this.#extend(type, gpa + at, new Uint8Array(digestLength));
    }
  }

  /** VMSA pages all lie at one address. */
  vmsa(page: Uint8Array): void {
    this.#extend(pageType.vmsa, vmsaGpa, crypto.hash('sha384', page));
  }

  #extend(type: number, gpa: number, contents: Uint8Array): void {
    // Digest so far, digest of the page, then length, type, IMI and VMPL permissions (none), address.
    const tail = new Uint8Array(pageInfoLength - 2 * digestLength);
    const view = new DataView(tail.buffer);
    view.setUint16(0, pageInfoLength, true);
    view.setUint8(2, type);
    view.setBigUint64(8, BigInt(gpa), true);
    this.digest = crypto.hash('sha384', concat(this.digest, contents, tail));
  }
}

/**
 * Computes MEASUREMENT of a guest before it is launched (protocol.md s.5): the firmware, what its
 * metadata asks the hypervisor to prepare, then the initial state of each vCPU.
 * @returns 48 bytes
 * @throws CvmpError MALFORMED where the firmware is none, or has no place for what is to be booted
 */
export function launchMeasurement(inputs: LaunchInputs): Uint8Array {
  const { vcpus, boot, vmmType, firmwarePagesDigest } = inputs;
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > vcpusMax) {
    throw new CvmpError('MALFORMED', `a guest has 1 to ${vcpusMax} vCPUs, not ${vcpus}`, {
      field: 'vcpus',
    });
  }
  const firmware = parseFirmware(inputs.firmware);
  const context = new LaunchContext(firmwarePagesDigest ?? new Uint8Array(digestLength));
  if (firmwarePagesDigest === undefined) {
    context.measure(pageType.normal, firmware.gpa, firmware.bytes);
  }
  measureSections(context, firmware, boot, vmmType);
  for (let i = 0; i < vcpus; i++) {
    const eip = i === 0 ? bootEip : firmware.apEip;
    if (eip === undefined) throw unfit('has no reset block for further vCPUs');
    context.vmsa(vmsaPage(vmmType, eip, inputs.cpuSignature, inputs.guestFeatures));
  }
  return context.digest;
}

function measureSections(
  context: LaunchContext,
  { sections, hashTableGpa }: Firmware,
  boot: BootInputs | undefined,
  vmmType: VmmType,
): void {
  if (boot !== undefined && !sections.some(({ type }) => type === sectionType.kernelHashes)) {
    throw unfit('has no page for the hashes of a kernel');
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
          throw unfit('has its hash table outside of the page for it');
        } else {
          context.measure(pageType.normal, gpa, kernelHashPage(boot, hashTableGpa));
        }
        break;
      default:
        throw unfit(`has a SEV metadata section of unknown type ${type}`);
    }
  }
  if (vmmType !== 'EC2') return;
  for (const { gpa, type } of sections) {
    if (type === sectionType.cpuid) context.mark(pageType.cpuid, gpa, pageLength);
  }
}

function unfit(why: string): CvmpError {
  return new CvmpError('MALFORMED', `the firmware ${why}`, { field: 'firmware' });
}
