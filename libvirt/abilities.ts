import { readXml, type XmlNode } from './xml/read.js';

/** Not every libvirt can say everything: what it does not name is unknown, not absent. */
export interface Ability {
  readonly state: 'yes' | 'no' | 'unknown';
  /** For people: who says so, or what is missing. */
  readonly why: string;
}

/** Guests whose memory can be encrypted at once; memory encryption keys are a fixed inventory. */
export interface EncryptionSlots {
  /** SEV guests. */
  readonly sev: number;
  /** SEV-ES and SEV-SNP guests, which share theirs. */
  readonly sevEs: number;
}

/** What libvirt and QEMU of a host say that it can do (domain capabilities). */
export interface HostAbilities {
  /** As libvirt counts: 10.5.0 is 10_005_000. */
  readonly libvirtVersion: number;
  readonly qemuVersion: number;
  readonly machine: string;
  readonly vcpusMax: number;
  readonly sev: Ability;
  readonly sevEs: Ability;
  readonly sevSnp: Ability;
  readonly tdx: Ability;
  readonly slots: EncryptionSlots | undefined;
  readonly vtpm: Ability;
  /** Firmware that enforces Secure Boot, and SMM to keep its variables. */
  readonly secureBoot: Ability;
  /** Firmware files that libvirt knows. */
  readonly firmware: readonly string[];
  /** CPU models that a guest can have here, without modes. */
  readonly vcpuTypes: readonly string[];
}

/** First versions that know a kind of launch security (virt.md: libvirt, QEMU). */
const since = {
  'sev-snp': { libvirt: 10_005_000, qemu: 9_001_000 },
  tdx: { libvirt: 11_006_000, qemu: 10_001_000 },
} as const;

/**
 * @param domcapabilities of `virsh domcapabilities`
 * @param version of `virsh version`
 * @throws CvmpError DRIVER where they are not readable
 */
export function readAbilities(domcapabilities: string, version: string): HostAbilities {
  const root = readXml(domcapabilities, 'domainCapabilities');
  const libvirtVersion = versionIn(
    version,
    /Using API: QEMU (\d+)\.(\d+)\.(\d+)|Using library: libvirt (\d+)\.(\d+)\.(\d+)/,
  );
  const qemuVersion = versionIn(version, /Running hypervisor: QEMU (\d+)\.(\d+)\.(\d+)/);
  const sev = root.child('features', 'sev');
  const kinds = securityKinds(root);
  const versions = { libvirtVersion, qemuVersion };
  return {
    ...versions,
    machine: root.child('machine')?.text ?? '',
    vcpusMax: Number(root.child('vcpu')?.attribute('max') ?? 1),
    sev: supported(sev, 'SEV'),
    sevEs: sevEsOf(sev),
    sevSnp: launchAbility('sev-snp', kinds, versions),
    tdx: launchAbility('tdx', kinds, versions),
    slots: slotsOf(sev),
    vtpm: vtpmOf(root.child('devices', 'tpm')),
    secureBoot: secureBootOf(root),
    firmware:
      root
        .child('os', 'loader')
        ?.children('value')
        .map(({ text }) => text) ?? [],
    vcpuTypes: usableModels(root),
  };
}

function versionIn(text: string, pattern: RegExp): number {
  const [major, minor, micro] = (pattern.exec(text) ?? []).slice(1).filter(Boolean).map(Number);
  return (major ?? 0) * 1_000_000 + (minor ?? 0) * 1000 + (micro ?? 0);
}

/** undefined where this libvirt does not list them (before 10.5.0). */
function securityKinds(root: XmlNode): readonly string[] | undefined {
  const security = root.child('features', 'launchSecurity');
  if (security === undefined) return undefined;
  return security.attribute('supported') === 'yes' ? enumValues(security, 'sectype') : [];
}

function launchAbility(
  kind: keyof typeof since,
  kinds: readonly string[] | undefined,
  { libvirtVersion, qemuVersion }: Pick<HostAbilities, 'libvirtVersion' | 'qemuVersion'>,
): Ability {
  const first = since[kind];
  for (const [what, is, needed] of [
    ['libvirt', libvirtVersion, first.libvirt],
    ['QEMU', qemuVersion, first.qemu],
  ] as const) {
    if (is < needed) {
      return no(`${what} ${versionText(is)} is older than ${versionText(needed)}`);
    }
  }
  if (kinds === undefined) return unknown('libvirt does not list its launch security');
  if (kinds.includes(kind)) return yes('libvirt lists it');
  return no('processor, firmware settings or kernel of the host do not offer it');
}

function supported(node: XmlNode | undefined, name: string): Ability {
  const said = node?.attribute('supported');
  if (said === undefined) return unknown(`libvirt does not speak of ${name}`);
  return said === 'yes' ? yes('libvirt says so') : no(`libvirt says that ${name} is not supported`);
}

function sevEsOf(sev: XmlNode | undefined): Ability {
  const plain = supported(sev, 'SEV');
  if (plain.state !== 'yes') return plain;
  const slots = slotsOf(sev)?.sevEs ?? 0;
  return slots > 0 ? yes(`${slots} guests`) : no('the firmware of the host leaves no ASIDs to it');
}

function slotsOf(sev: XmlNode | undefined): EncryptionSlots | undefined {
  if (sev?.attribute('supported') !== 'yes') return undefined;
  const count = (name: string) => Number(sev.child(name)?.text ?? 0);
  return { sev: count('maxGuests'), sevEs: count('maxESGuests') };
}

function vtpmOf(tpm: XmlNode | undefined): Ability {
  const plain = supported(tpm, 'TPMs');
  if (tpm === undefined || plain.state !== 'yes') return plain;
  if (!enumValues(tpm, 'backendModel').includes('emulator')) return no('swtpm is not installed');
  if (!enumValues(tpm, 'model').includes('tpm-crb')) return no('QEMU has no tpm-crb');
  const versions = enumValues(tpm, 'backendVersion');
  // Older ones do not say; they all know 2.0.
  if (versions.length > 0 && !versions.includes('2.0')) return no('swtpm has no TPM 2.0');
  return yes('swtpm, tpm-crb');
}

function secureBootOf(root: XmlNode): Ability {
  const loader = root.child('os', 'loader');
  const plain = supported(loader, 'firmware');
  if (loader === undefined || plain.state !== 'yes') return plain;
  if (!enumValues(loader, 'type').includes('pflash')) return no('QEMU has no flash');
  return enumValues(loader, 'secure').includes('yes')
    ? yes('libvirt knows firmware that enforces it')
    : no('libvirt knows no firmware that enforces it');
}

function usableModels(root: XmlNode): readonly string[] {
  const modes = root.child('cpu')?.children('mode') ?? [];
  const custom = modes.find((mode) => mode.attribute('name') === 'custom');
  const models = custom?.children('model') ?? [];
  return models.filter((m) => m.attribute('usable') === 'yes').map(({ text }) => text);
}

function enumValues(parent: XmlNode, name: string): readonly string[] {
  const list = parent.children('enum').find((e) => e.attribute('name') === name);
  return list?.children('value').map(({ text }) => text) ?? [];
}

const yes = (why: string): Ability => ({ state: 'yes', why });
const no = (why: string): Ability => ({ state: 'no', why });
const unknown = (why: string): Ability => ({ state: 'unknown', why });

/** 10_005_000 as 10.5.0; 0 as "of unknown version". */
export function versionText(version: number): string {
  if (version === 0) return 'of unknown version';
  const [major, minor] = [Math.floor(version / 1_000_000), Math.floor(version / 1000) % 1000];
  return `${major}.${minor}.${version % 1000}`;
}
