import { pageLength } from './firmware.js';

/** Hypervisors whose initial vCPU state is known. */
export type VmmType = 'QEMU' | 'EC2' | 'GCE';

/** In what the initial state differs between hypervisors (KVM and QEMU against others). */
interface VmmState {
  /** Attributes of CS of the boot processor; the others have 0x9B. */
  readonly bootCs: number;
  readonly ss: number;
  readonly tr: number;
  /** RDX; undefined: the CPU signature. KVM's own default is 0x600 where it knows no CPUID yet. */
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
  EC2: {
    bootCs: 0x9a,
    ss: 0x92,
    tr: 0x83,
    rdx: 0x600n,
    mxcsr: 0,
    x87Fcw: 0,
    gPat: resetPat,
  },
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

/** Writes into a save area. */
interface SaveArea {
  readonly page: Uint8Array;
  readonly u16: (offset: number, value: number) => void;
  readonly u32: (offset: number, value: number) => void;
  readonly u64: (offset: number, value: bigint) => void;
  readonly segment: (offset: number, attributes: number, rest?: Partial<Segment>) => void;
}

interface Segment {
  readonly selector: number;
  readonly limit: number;
  readonly base: number;
}

/** A save area with what every vCPU starts with. */
function saveArea(): SaveArea {
  const page = new Uint8Array(pageLength);
  const view = new DataView(page.buffer);
  const u16 = (offset: number, value: number) => view.setUint16(offset, value, true);
  const u32 = (offset: number, value: number) => view.setUint32(offset, value, true);
  const u64 = (offset: number, value: bigint) => view.setBigUint64(offset, value, true);
  const segment = (offset: number, attributes: number, rest: Partial<Segment> = {}): void => {
    u16(offset, rest.selector ?? 0);
    u16(offset + 2, attributes);
    u32(offset + 4, rest.limit ?? 0xffff);
    u64(offset + 8, BigInt(rest.base ?? 0));
  };
  segment(at.gs, 0x93);
  segment(at.gdtr, 0);
  segment(at.ldtr, 0x82);
  segment(at.idtr, 0);
  u64(at.efer, 0x1000n); // SVME, which KVM sets
  u64(at.cr4, 0x40n); // MCE, which KVM sets
  u64(at.dr7, 0x400n);
  u64(at.dr6, 0xffff_0ff0n);
  u64(at.rflags, 0x2n);
  u64(at.xcr0, 1n);
  return { page, u16, u32, u64, segment };
}

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
  const { page, u16, u32, u64, segment } = saveArea();
  const state = vmmStates[vmm];
  const base = eip - (eip % 0x1_0000);
  segment(at.cs, eip === bootEip ? state.bootCs : 0x9b, { selector: 0xf000, base });
  for (const data of [at.es, at.ds, at.fs]) segment(data, 0x93);
  segment(at.ss, state.ss);
  segment(at.tr, state.tr);
  u64(at.cr0, 0x10n);
  u64(at.rip, BigInt(eip % 0x1_0000));
  u64(at.gPat, state.gPat);
  u64(at.rdx, state.rdx ?? BigInt(cpuSignature));
  u64(at.sevFeatures, guestFeatures);
  u32(at.mxcsr, state.mxcsr);
  u16(at.x87Fcw, state.x87Fcw);
  return page;
}

/**
 * The VMSA page of a vCPU that starts in an SVSM: 32-bit protected mode, flat segments (Coconut's
 * QEMU). SEV_FEATURES is SNP alone.
 * @param eip first instruction of the SVSM
 */
export function svsmVmsaPage(eip: number, cpuSignature: number): Uint8Array {
  const { page, u32, u64, segment } = saveArea();
  const limit = 0xffff_ffff;
  segment(at.cs, 0xc9b, { selector: 8, limit });
  for (const data of [at.es, at.ss, at.ds, at.fs]) segment(data, 0xc93, { selector: 16, limit });
  segment(at.tr, 0x8b);
  u64(at.cr0, 0x11n);
  u64(at.rip, BigInt(eip));
  u64(at.gPat, resetPat);
  u64(at.rdx, BigInt(cpuSignature));
  u64(at.sevFeatures, 1n);
  u32(at.mxcsr, 0x1f80);
  return page;
}
