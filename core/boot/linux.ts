import { CvmpError } from '../errors.js';
import { utf16 } from '../eventlog/efi-variable.js';
import { eventType } from '../eventlog/event-types.js';
import { parsePe } from '../firmware/pe.js';
import { applicationEvent, type MeasuredEvent, measured } from './measured-event.js';

/** What the kernel's own EFI stub measures (Linux 6.1 and later; drivers/firmware/efi/libstub). */
export interface LinuxStubInputs {
  /** As the boot loader hands it over. */
  readonly cmdline: string;
  /** All of it as the kernel loads it; undefined where there is none. */
  readonly initrd: Uint8Array | undefined;
}

const stubPcr = 9;

/** Load options with their NUL, then the initrd: PCR 9, RTMR2 in a TDX guest. */
export function linuxStubEvents({ cmdline, initrd }: LinuxStubInputs): readonly MeasuredEvent[] {
  const options = measured(
    stubPcr,
    eventType.eventTag,
    'command line of the kernel',
    utf16(`${cmdline}\0`),
  );
  if (initrd === undefined) return [options];
  return [options, measured(stubPcr, eventType.eventTag, 'initrd', initrd)];
}

/** The kernel as the firmware loads it: PCR 4. @throws CvmpError MALFORMED */
export function kernelImageEvent(kernel: Uint8Array): MeasuredEvent {
  return applicationEvent('kernel', parsePe(kernel));
}

/** Fields of the setup header that QEMU writes (Linux Documentation/arch/x86/boot.rst). */
const setup = {
  version: 0x206,
  typeOfLoader: 0x210,
  loadFlags: 0x211,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  heapEndPtr: 0x224,
  cmdLinePtr: 0x228,
  initrdAddrMax: 0x22c,
  xloadFlags: 0x236,
} as const;
const setupLength = 0x1000;
const headerMagic = 0x53726448; // "HdrS"
const headerMagicAt = 0x202;

const loadedHigh = 0x01;
const canUseHeap = 0x80;
const canBeLoadedAbove4g = 0x40;
const qemuLoader = 0xb0;
const realModeAddress = 0x10000;
const cmdlineAddress = 0x20000;
/** What QEMU keeps free at the end of low memory for ACPI tables. */
const acpiDataLength = 0x28000;
const initrdAddressDefault = 0x37ffffff;

/**
 * The kernel as `qemu -kernel` hands it to the firmware: QEMU (until 10.0) writes into its setup
 * header where it put command line and initrd, which depends on the memory of the guest.
 * @param lowMemory bytes of memory below 4 GiB
 * @throws CvmpError MALFORMED where it is no Linux kernel of boot protocol 2.03 or later
 */
export function qemuPatchedKernel(
  kernel: Uint8Array,
  initrdLength: number,
  lowMemory: number,
): Uint8Array {
  const patched = new Uint8Array(kernel);
  const view = new DataView(patched.buffer);
  if (patched.length < setupLength || view.getUint32(headerMagicAt, true) !== headerMagic) {
    throw malformed('is no Linux kernel');
  }
  const version = view.getUint16(setup.version, true);
  if (version < 0x203 || (patched[setup.loadFlags]! & loadedHigh) === 0) {
    throw malformed('has too old a boot protocol');
  }
  view.setUint8(setup.typeOfLoader, qemuLoader);
  view.setUint8(setup.loadFlags, patched[setup.loadFlags]! | canUseHeap);
  view.setUint32(setup.heapEndPtr, cmdlineAddress - realModeAddress - 0x200, true);
  view.setUint32(setup.cmdLinePtr, cmdlineAddress, true);
  if (initrdLength === 0) return patched;
  const address = initrdMax(view, version);
  const last = Math.min(address, lowMemory - acpiDataLength - 1);
  if (initrdLength >= last) throw malformed('has an initrd that does not fit into memory');
  view.setUint32(setup.ramdiskImage, (last - initrdLength) & ~0xfff, true);
  view.setUint32(setup.ramdiskSize, initrdLength, true);
  return patched;
}

/** Highest address of an initrd that the kernel takes. */
function initrdMax(view: DataView, version: number): number {
  const above4g = (view.getUint16(setup.xloadFlags, true) & canBeLoadedAbove4g) !== 0;
  if (version >= 0x20c && above4g) return 0xffff_ffff;
  return view.getUint32(setup.initrdAddrMax, true) || initrdAddressDefault;
}

function malformed(why: string): CvmpError {
  return new CvmpError('MALFORMED', `the kernel ${why}`, { field: 'kernel' });
}
