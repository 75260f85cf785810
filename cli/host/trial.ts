import { CvmpError } from '#core/errors.js';
import type { Ability, HostAbilities } from '#libvirt/abilities.js';
import { type Domain, domainXml } from '#libvirt/domain/domain.js';
import type { LaunchSecurity } from '#libvirt/domain/launch-security.js';
import type { Libvirt } from '#libvirt/virsh/virsh.js';
import { type GuestKind, guestKinds, type Trials } from './checks.js';

const security: Readonly<Record<GuestKind, LaunchSecurity | undefined>> = {
  'sev-snp': {
    kind: 'sev-snp',
    guestPolicy: 0x30000n,
    hostData: new Uint8Array(32),
    authorKey: false,
    kernelHashes: true,
  },
  tdx: {
    kind: 'tdx',
    attributes: 0x1000_0000n,
    mrConfigId: new Uint8Array(48),
    quoteServiceSocket: '/var/run/tdx-qgs/qgs.socket',
  },
  vtpm: undefined,
};

/** libvirt turns a domain of each kind into a command line of QEMU; nothing is defined. */
export async function tryDomains(libvirt: Libvirt, abilities: HostAbilities): Promise<Trials> {
  const trials = guestKinds.map(async (kind): Promise<[GuestKind, Ability]> => {
    return [kind, await tryDomain(libvirt, trialDomain(kind, abilities))];
  });
  return Object.fromEntries(await Promise.all(trials)) as Trials;
}

/** Where libvirt cannot be asked. */
export function unknownTrials(): Trials {
  const unknown: Ability = { state: 'unknown', why: 'libvirt does not answer' };
  return { 'sev-snp': unknown, tdx: unknown, vtpm: unknown };
}

async function tryDomain(libvirt: Libvirt, domain: Domain): Promise<Ability> {
  try {
    await libvirt.askOf(domainXml(domain), 'domxml-to-native', 'qemu-argv');
    return { state: 'yes', why: 'libvirt takes it' };
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return { state: 'no', why: error.message };
  }
}

function trialDomain(kind: GuestKind, { firmware }: HostAbilities): Domain {
  const launch = security[kind];
  const code = firmware.find((path) => path.includes('secboot')) ?? firmware[0] ?? '/firmware';
  return {
    name: `cvmp-trial-${kind}`,
    uuid: '00000000-0000-4000-8000-000000000001',
    title: 'trial of cvmp host doctor',
    accelerator: launch === undefined ? 'qemu' : 'kvm',
    memoryMib: 512,
    vcpus: 1,
    vcpuType: launch === undefined ? 'maximum' : 'host-passthrough',
    firmware:
      launch === undefined
        ? { kind: 'pflash', code, variables: '/variables', template: '/template', isSecure: true }
        : { kind: 'rom', path: code },
    boot: { kind: 'disk' },
    security: launch,
    devices: {
      disks: [{ path: '/disk', isReadOnly: true, serial: 'cvmp-boot', bootOrder: 1 }],
      network: { kind: 'none' },
      hasTpm: launch === undefined,
      consoleLog: '/console',
      guestSocket: '/guest',
    },
  };
}
