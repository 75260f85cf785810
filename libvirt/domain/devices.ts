import { element, type XmlElement } from '../xml/write.js';

/** A disk of the guest, a raw file on the host. */
export interface DomainDisk {
  readonly path: string;
  readonly isReadOnly: boolean;
  /** As the guest finds it: /dev/disk/by-id/virtio-SERIAL. At most 20 characters. */
  readonly serial: string;
  /** 1 for the first that the firmware tries; undefined: never started from. */
  readonly bootOrder?: number;
}

/** How the guest reaches the Key Server. */
export type DomainNetwork =
  | { readonly kind: 'none' }
  /** Through QEMU, outgoing only; needs no rights on the host. */
  | { readonly kind: 'user' }
  /** A network that libvirt knows. */
  | { readonly kind: 'network'; readonly name: string }
  | { readonly kind: 'bridge'; readonly name: string };

export interface DomainDevices {
  readonly disks: readonly DomainDisk[];
  readonly network: DomainNetwork;
  /** A software TPM 2.0 beside the domain. It proves nothing against the host that runs it. */
  readonly hasTpm: boolean;
  /** Console log of the guest, on the host. */
  readonly consoleLog: string;
  /** Unix socket that leads to the Key Agent's virtio port. */
  readonly guestSocket: string;
}

/** Name of the virtio port that the Key Agent answers on: /dev/virtio-ports/NAME in the guest. */
export const guestPortName = 'org.cvmp.guest.0';

const letters = 'abcdefghijklmnopqrstuvwxyz';

/** @param isEncrypted the guest's memory is private, so devices must use shared pages */
export function deviceElements(
  { disks, network, hasTpm, consoleLog, guestSocket }: DomainDevices,
  isEncrypted: boolean,
): readonly XmlElement[] {
  // Without a translated address a device would read ciphertext.
  const iommu = isEncrypted ? { iommu: 'on' } : {};
  const driver = isEncrypted ? [element('driver', iommu)] : [];
  return [
    ...disks.map((disk, i) => diskElement(disk, `vd${letters[i]}`, iommu)),
    ...(network.kind === 'none' ? [] : [networkElement(network, driver)]),
    element('serial', { type: 'file' }, [
      element('source', { path: consoleLog, append: 'on' }),
      element('target', { port: 0 }),
    ]),
    element('controller', { type: 'virtio-serial', index: 0 }, driver),
    element('channel', { type: 'unix' }, [
      element('source', { mode: 'bind', path: guestSocket }),
      element('target', { type: 'virtio', name: guestPortName }),
    ]),
    ...(hasTpm ? [tpmElement()] : []),
    element('controller', { type: 'usb', model: 'none' }),
    element('memballoon', { model: 'none' }),
    element('rng', { model: 'virtio' }, [
      element('backend', { model: 'random' }, '/dev/urandom'),
      ...driver,
    ]),
  ];
}

function diskElement(
  { path, isReadOnly, serial, bootOrder }: DomainDisk,
  device: string,
  iommu: { readonly iommu?: string },
): XmlElement {
  return element('disk', { type: 'file', device: 'disk' }, [
    element('driver', { name: 'qemu', type: 'raw', cache: 'none', io: 'threads', ...iommu }),
    element('source', { file: path }),
    element('target', { dev: device, bus: 'virtio' }),
    isReadOnly ? element('readonly') : undefined,
    element('serial', {}, serial),
    bootOrder === undefined ? undefined : element('boot', { order: bootOrder }),
  ]);
}

function networkElement(
  network: Exclude<DomainNetwork, { kind: 'none' }>,
  driver: readonly XmlElement[],
): XmlElement {
  return element('interface', { type: network.kind }, [
    sourceElement(network),
    element('model', { type: 'virtio' }),
    ...driver,
    // The ROM of the card would be measured into PCR 2, and offers a boot that nobody wants.
    element('rom', { enabled: 'no' }),
  ]);
}

function sourceElement(network: DomainNetwork): XmlElement | undefined {
  if (network.kind === 'bridge') return element('source', { bridge: network.name });
  if (network.kind === 'network') return element('source', { network: network.name });
  return undefined;
}

function tpmElement(): XmlElement {
  return element('tpm', { model: 'tpm-crb' }, [
    element('backend', { type: 'emulator', version: '2.0' }),
  ]);
}
