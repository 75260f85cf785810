import { pageLength } from './firmware.js';

/** Hypervisors whose initial vCPU state is known. */
export type VmmType = 'QEMU' | 'EC2' | 'GCE';

/** In what the initial state differs between hypervisors (KVM and QEMU against others). */
interface VmmState {
  /** Attributes of CS of the boot processor; the others have 0x9B. */
  readonly bootCs: number;
  readonly ss: number;
  readonly tr: number;
  /** RDX; undefined: the CPU signature. */
  readonly rdx: bigint | undefined;
  readonly mxcsr: number;
  readonly x87Fcw: number;
  readonly gPat: bigint;
}

const resetPat = 0x0007_0406_0007_0406n;

const vmmStates: Readonly<Record<VmmType, VmmState>> = {
  QEMU: {
    bootCs: 0x9b,
    ss: 0x93,
    tr: 0x8b,
    rdx: undefined,
    mxcsr: 0x1f80,
    x87Fcw: 0x37f,
    gPat: resetPat,
  },
  EC2: { bootCs: 0x9a, ss: 0x92, tr: 0x83, rdx: 0n, mxcsr: 0, x87Fcw: 0, gPat: resetPat },
  GCE: {
    bootCs: 0x9b,
    ss: 0x93,
    tr: 0x8b,
    rdx: 0x600n,
    mxcsr: 0,
    x87Fcw: 0,
    gPat: 0x70106n,
  },
};

/** First instruction of the boot processor: the reset vector. */
export const bootEip = 0xffff_fff0;

/** Offsets in the save area (APM vol. 2, table B-4). */
const at = {
  es: 0x000,
  cs: 0x010,
  ss: 0x020,
  ds: 0x030,
  fs: 0x040,
  gs: 0x050,
  gdtr: 0x060,
  ldtr: 0x070,
  idtr: 0x080,
  tr: 0x090,
  efer: 0x0d0,
  cr4: 0x148,
  cr0: 0x158,
  dr7: 0x160,
  dr6: 0x168,
  rflags: 0x170,
  rip: 0x178,
  gPat: 0x268,
  rdx: 0x310,
  sevFeatures: 0x3b0,
  xcr0: 0x3e8,
  mxcsr: 0x408,
  x87Fcw: 0x410,
} as const;

/**
 * The VMSA page of a vCPU as the hypervisor hands it to the security processor at launch.
 * @param eip first instruction
 * @param cpuSignature CPUID Fn0000_0001_EAX
 * @param guestFeatures SEV_FEATURES
 */
export function vmsaPage(
  vmm: VmmType,
  eip: number,
  cpuSignature: number,
  guestFeatures: bigint,
): Uint8Array {
  const page = new Uint8Array(pageLength);
  const view = new DataView(page.buffer);
  const state = vmmStates[vmm];
  const segment = (offset: number, attributes: number, selector = 0, base = 0): void => {
    view.setUint16(offset, selector, true);
    view.setUint16(offset + 2, attributes, true);
    view.setUint32(offset + 4, 0xffff, true);
    view.setBigUint64(offset + 8, BigInt(base), true);
  };
  const u64 = (offset: number, value: bigint): void => view.setBigUint64(offset, value, true);

  segment(at.es, 0x93);
  const csBase = eip - (eip % 0x1_0000);
  segment(at.cs, eip === bootEip ? state.bootCs : 0x9b, 0xf000, csBase);
  segment(at.ss, state.ss);
  segment(at.ds, 0x93);
  segment(at.fs, 0x93);
  segment(at.gs, 0x93);
  segment(at.gdtr, 0);
  segment(at.ldtr, 0x82);
  segment(at.idtr, 0);
  segment(at.tr, state.tr);
  u64(at.efer, 0x1000n); // SVME, which KVM sets
  u64(at.cr4, 0x40n); // MCE, which KVM sets
  u64(at.cr0, 0x10n);
  u64(at.dr7, 0x400n);
  u64(at.dr6, 0xffff_0ff0n);
  u64(at.rflags, 0x2n);
  u64(at.rip, BigInt(eip % 0x1_0000));
  u64(at.gPat, state.gPat);
  u64(at.rdx, state.rdx ?? BigInt(cpuSignature));
  u64(at.sevFeatures, guestFeatures);
  u64(at.xcr0, 1n);
  view.setUint32(at.mxcsr, state.mxcsr, true);
  view.setUint16(at.x87Fcw, state.x87Fcw, true);
  return page;
}
