import type { Domain } from '#libvirt/domain/domain.js';
import type { LaunchSecurity } from '#libvirt/domain/launch-security.js';

const filled = (length: number, value: number) => new Uint8Array(length).fill(value);

export const security: Readonly<Record<'snp' | 'snpWithId' | 'tdx' | 'sev', LaunchSecurity>> = {
  snp: {
    kind: 'sev-snp',
    guestPolicy: 0x30000n,
    hostData: filled(32, 1),
    authorKey: false,
    kernelHashes: true,
  },
  snpWithId: {
    kind: 'sev-snp',
    guestPolicy: 0x30000n,
    hostData: filled(32, 1),
    id: { block: filled(96, 2), auth: filled(4096, 3) },
    authorKey: true,
    kernelHashes: true,
  },
  tdx: {
    kind: 'tdx',
    attributes: 0x1000_0000n,
    mrConfigId: filled(48, 4),
    mrOwner: filled(48, 5),
    mrOwnerConfig: filled(48, 6),
    quoteServiceSocket: '/var/run/tdx-qgs/qgs.socket',
  },
  sev: { kind: 'sev', guestPolicy: 0x7, kernelHashes: true },
};

/** A guest with a TPM and Secure Boot, that starts a UKI from a disk. */
export function vtpmDomain(change: Partial<Domain> = {}): Domain {
  return {
    name: 'cvm-0011223344556677',
    uuid: '5b0c8f5e-7c1a-4c4e-9d0a-5b1e6a7c0001',
    title: 'cvmp',
    accelerator: 'qemu',
    memoryMib: 1024,
    vcpus: 2,
    vcpuType: 'maximum',
    firmware: {
      kind: 'pflash',
      code: '/usr/share/OVMF/OVMF_CODE_4M.secboot.fd',
      variables: '/var/lib/cvmp/cvm-0011223344556677/variables.fd',
      template: '/usr/share/OVMF/OVMF_VARS_4M.fd',
      isSecure: true,
    },
    boot: { kind: 'disk' },
    security: undefined,
    devices: {
      disks: [
        { path: '/var/lib/cvmp/esp', isReadOnly: true, serial: 'cvmp-boot', bootOrder: 1 },
        { path: '/var/lib/cvmp/disk', isReadOnly: false, serial: 'cvmp-disk' },
      ],
      network: { kind: 'user' },
      hasTpm: true,
      consoleLog: '/var/lib/cvmp/console.log',
      guestSocket: '/run/cvmp/guest.sock',
    },
    ...change,
  };
}

/** A guest with encrypted memory: firmware in a ROM, kernel hashes measured with it. */
export function encryptedDomain(launch: LaunchSecurity): Domain {
  const base = vtpmDomain();
  return {
    ...base,
    accelerator: 'kvm',
    vcpuType: launch.kind === 'tdx' ? 'host-passthrough' : 'EPYC-Milan',
    firmware: { kind: 'rom', path: '/usr/share/ovmf/OVMF.amdsev.fd' },
    boot: {
      kind: 'kernel',
      kernel: '/var/lib/cvmp/images/a/kernel',
      initrd: '/var/lib/cvmp/images/a/initrd',
      cmdline: 'console=ttyS0 root=/dev/mapper/root "a&b" <c>',
    },
    security: launch,
    devices: { ...base.devices, hasTpm: false, network: { kind: 'bridge', name: 'br0' } },
  };
}
