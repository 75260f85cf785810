import { type Ability, type HostAbilities, versionText } from '#libvirt/abilities.js';
import type { HostFacts } from './facts.js';

/** Kinds of CVMs that a host may run. */
export const guestKinds = ['sev-snp', 'tdx', 'vtpm'] as const;
export type GuestKind = (typeof guestKinds)[number];

/** One thing that a kind of CVM needs of a host (draft-00 s.2.2). */
export interface Finding {
  readonly kind: GuestKind;
  readonly check: string;
  readonly state: Ability['state'];
  /** What was found. */
  readonly found: string;
  /** What to do where it is missing; empty where it is there. */
  readonly next: string;
}

/** Whether libvirt would take a domain of each kind. */
export type Trials = Readonly<Record<GuestKind, Ability>>;

interface Check {
  readonly check: string;
  readonly look: (facts: HostFacts, abilities: HostAbilities, trials: Trials) => Ability;
  readonly next: string;
}

const isOn = (value: string | undefined) => value !== undefined && /^(Y|1)$/.test(value);

const processor = (vendor: 'AMD' | 'Intel'): Check => ({
  check: 'processor',
  look: (facts) =>
    found(
      facts.vendor === vendor,
      `by ${facts.vendor === 'another' ? 'another maker' : facts.vendor}`,
    ),
  next: `This kind of CVM needs a processor by ${vendor}.`,
});

const flag = (name: string, next: string): Check => ({
  check: `processor flag ${name}`,
  look: ({ cpuFlags }) => found(cpuFlags.has(name), cpuFlags.has(name) ? 'set' : 'not set'),
  next,
});

const kernel = (major: number, minor: number): Check => ({
  check: `Linux ${major}.${minor} or later`,
  look: ({ kernel: [a, b], kernelText }) =>
    found(a > major || (a === major && b >= minor), kernelText || 'not told'),
  next: `Install Linux ${major}.${minor} or later.`,
});

const parameter = (module: string, name: string, next: string): Check => ({
  check: `${module}.${name}`,
  look: (facts) => {
    const value = facts.parameter(module, name);
    return found(isOn(value), value ?? 'no such parameter, or the module is not loaded');
  },
  next,
});

const kvm: Check = {
  check: '/dev/kvm',
  look: ({ has }) => found(has('dev/kvm'), has('dev/kvm') ? 'there' : 'missing'),
  next: 'Switch on virtualisation in the firmware and load kvm_amd or kvm_intel.',
};

const trial = (kind: GuestKind, next: string): Check => ({
  check: 'trial domain',
  look: (_, __, trials) => trials[kind],
  next,
});

const ability = (
  check: string,
  of: (abilities: HostAbilities) => Ability,
  next: string,
): Check => ({ check, look: (_, abilities) => of(abilities), next });

/** What each kind needs, from the processor up. Versions as in docs/decisions/0002 and virt guides. */
const checks: Readonly<Record<GuestKind, readonly Check[]>> = {
  'sev-snp': [
    processor('AMD'),
    flag('sev_snp', 'Switch on SEV-SNP (SNP Memory Coverage) in the firmware: EPYC 7003 or later.'),
    {
      check: 'IOMMU',
      look: ({ hasIommu }) => found(hasIommu, hasIommu ? 'in use' : 'not in use'),
      next: 'Switch on the IOMMU in the firmware; do not start Linux with iommu=off or iommu=pt.',
    },
    kernel(6, 11),
    kvm,
    parameter('kvm_amd', 'sev', 'Load kvm_amd with sev=1.'),
    parameter(
      'kvm_amd',
      'sev_es',
      'Load kvm_amd with sev_es=1; give SEV-ES ASIDs in the firmware.',
    ),
    parameter('kvm_amd', 'sev_snp', 'Load kvm_amd with sev_snp=1; see dmesg for SEV-SNP.'),
    {
      check: '/dev/sev',
      look: ({ has }) => found(has('dev/sev'), has('dev/sev') ? 'there' : 'missing'),
      next: 'Load the ccp module; the security processor must answer (dmesg, "ccp").',
    },
    ability(
      'libvirt and QEMU',
      ({ sevSnp }) => sevSnp,
      'Install libvirt 10.5 and QEMU 9.1, or later.',
    ),
    trial('sev-snp', 'Mend what libvirt names.'),
  ],
  tdx: [
    processor('Intel'),
    flag(
      'tdx_host_platform',
      'Switch on TDX, TME-MT and SEAM in the firmware: 4th generation Xeon with TDX, or later.',
    ),
    kernel(6, 16),
    kvm,
    parameter('kvm_intel', 'tdx', 'Load kvm_intel with tdx=1; start Linux with nohibernate.'),
    {
      check: 'Quote Generation Service',
      look: ({ has }) => {
        const isThere = has('var/run/tdx-qgs/qgs.socket');
        return found(isThere, isThere ? 'its socket is there' : 'no /var/run/tdx-qgs/qgs.socket');
      },
      next: 'Install and start qgsd (tdx-qgs); register the platform with Intel (PCKIDRetrieval).',
    },
    ability('libvirt and QEMU', ({ tdx }) => tdx, 'Install libvirt 11.6 and QEMU 10.1, or later.'),
    trial('tdx', 'Mend what libvirt names.'),
  ],
  vtpm: [
    ability('software TPM 2.0', ({ vtpm }) => vtpm, 'Install swtpm and swtpm-tools.'),
    ability('Secure Boot firmware', ({ secureBoot }) => secureBoot, 'Install ovmf.'),
    trial('vtpm', 'Mend what libvirt names.'),
  ],
};

/** All that these kinds need of a host, and what it has. */
export function examineHost(
  kinds: readonly GuestKind[],
  facts: HostFacts,
  abilities: HostAbilities,
  trials: Trials,
): readonly Finding[] {
  return kinds.flatMap((kind) =>
    checks[kind].map(({ check, look, next }) => {
      const { state, why } = look(facts, abilities, trials);
      return { kind, check, state, found: why, next: nextOf(state, next) };
    }),
  );
}

function nextOf(state: Ability['state'], next: string): string {
  if (state === 'yes') return '';
  return state === 'no' ? next : 'Start libvirt, or name its connection with --uri.';
}

/** Where libvirt cannot be asked, nothing is known of what it can do. */
export function unknownAbilities(): HostAbilities {
  const unknown: Ability = { state: 'unknown', why: 'libvirt does not answer' };
  return {
    libvirtVersion: 0,
    qemuVersion: 0,
    machine: '',
    vcpusMax: 0,
    sev: unknown,
    sevEs: unknown,
    sevSnp: unknown,
    tdx: unknown,
    slots: undefined,
    vtpm: unknown,
    secureBoot: unknown,
    firmware: [],
    vcpuTypes: [],
  };
}

/** Versions for people. */
export function versionsText({ libvirtVersion, qemuVersion }: HostAbilities): string {
  return `libvirt ${versionText(libvirtVersion)}, QEMU ${versionText(qemuVersion)}`;
}

function found(isThere: boolean, why: string): Ability {
  return { state: isThere ? 'yes' : 'no', why };
}
