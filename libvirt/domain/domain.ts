import { element, textElement, writeXml, type XmlElement } from '../xml/write.js';
import { type DomainDevices, deviceElements } from './devices.js';
import { type LaunchSecurity, launchSecurityElement } from './launch-security.js';

/** Firmware of a domain. */
export type DomainFirmware =
  /** One read-only file, measured at launch: how SNP and TDX guests start. */
  | { readonly kind: 'rom'; readonly path: string }
  /** Flash with a variable store of the domain's own, made from a template. */
  | {
      readonly kind: 'pflash';
      readonly code: string;
      readonly variables: string;
      readonly template: string;
      /** The code enforces Secure Boot, which needs SMM. */
      readonly isSecure: boolean;
    };

/** What the firmware starts. */
export type DomainBoot =
  | {
      readonly kind: 'kernel';
      readonly kernel: string;
      readonly initrd: string;
      readonly cmdline: string;
    }
  /** From the disk that has the lowest boot order. */
  | { readonly kind: 'disk' };

/** A CVM as libvirt is told of it. Paths are absolute, and of the host that runs it. */
export interface Domain {
  /** Letters, digits and `-`. */
  readonly name: string;
  readonly uuid: string;
  /** Found again in lists: what this platform made, and for whom it knows itself. */
  readonly title: string;
  /** `kvm`, or `qemu` for emulation, which protects nothing. */
  readonly accelerator: 'kvm' | 'qemu';
  readonly memoryMib: number;
  readonly vcpus: number;
  /** A CPU model of QEMU; `maximum` and `host-passthrough` are modes of libvirt. */
  readonly vcpuType: string;
  readonly firmware: DomainFirmware;
  readonly boot: DomainBoot;
  /** undefined: memory is not encrypted; such a guest proves itself by its TPM alone. */
  readonly security: LaunchSecurity | undefined;
  readonly devices: DomainDevices;
}

/**
 * Domain XML (libvirt, "Domain XML format"). What a domain does not need is not in it: neither USB
 * nor graphics nor a balloon, so that firmware measures and the host shares less.
 * @throws TypeError where a value cannot be carried
 */
export function domainXml(domain: Domain): string {
  const { accelerator, name, uuid, title, memoryMib, vcpus, firmware, boot, security } = domain;
  const hasSmm = firmware.kind === 'pflash' && firmware.isSecure;
  return writeXml(
    element('domain', { type: accelerator }, [
      textElement('name', name),
      textElement('uuid', uuid),
      textElement('title', title),
      textElement('memory', memoryMib, { unit: 'MiB' }),
      // Encrypted memory is registered with the processor by file, and is not shared with QEMU else.
      security && element('memoryBacking', {}, [element('source', { type: 'memfd' })]),
      textElement('vcpu', vcpus),
      element('os', {}, [
        textElement('type', 'hvm', { arch: 'x86_64', machine: 'q35' }),
        ...firmwareElements(firmware),
        ...bootElements(boot),
      ]),
      element('features', {}, [
        element('acpi'),
        element('apic'),
        element('smm', { state: hasSmm ? 'on' : 'off' }),
        security?.kind === 'tdx' ? element('ioapic', { driver: 'qemu' }) : undefined,
      ]),
      cpuElement(domain.vcpuType),
      element('clock', { offset: 'utc' }),
      textElement('on_poweroff', 'destroy'),
      textElement('on_reboot', security === undefined ? 'restart' : 'destroy'),
      textElement('on_crash', 'destroy'),
      element('devices', {}, deviceElements(domain.devices, security !== undefined)),
      security && launchSecurityElement(security),
    ]),
  );
}

function firmwareElements(firmware: DomainFirmware): readonly XmlElement[] {
  if (firmware.kind === 'rom') {
    return [textElement('loader', firmware.path, { type: 'rom', stateless: 'yes' })];
  }
  const { code, isSecure, variables, template } = firmware;
  const secure = isSecure ? 'yes' : 'no';
  return [
    textElement('loader', code, { readonly: 'yes', secure, type: 'pflash' }),
    textElement('nvram', variables, { template }),
  ];
}

function bootElements(boot: DomainBoot): readonly XmlElement[] {
  if (boot.kind === 'disk') return [];
  return [
    textElement('kernel', boot.kernel),
    textElement('initrd', boot.initrd),
    textElement('cmdline', boot.cmdline),
  ];
}

function cpuElement(vcpuType: string): XmlElement {
  if (vcpuType === 'maximum') return element('cpu', { mode: 'maximum' });
  if (vcpuType === 'host-passthrough') {
    return element('cpu', { mode: 'host-passthrough', migratable: 'off' });
  }
  return element('cpu', { mode: 'custom', match: 'exact', check: 'none' }, [
    textElement('model', vcpuType, { fallback: 'forbid' }),
  ]);
}
