import { describe, expect, test } from 'vitest';
import { readAbilities } from '#libvirt/abilities.js';

interface Host {
  readonly libvirt?: string;
  readonly qemu?: string;
  readonly sev?: string;
  readonly launchSecurity?: string;
  readonly tpm?: string;
  readonly loader?: string;
}

const enumOf = (name: string, ...values: readonly string[]) =>
  `<enum name='${name}'>${values.map((v) => `<value>${v}</value>`).join('')}</enum>`;

/** What libvirt says of a host with everything, but for what is given. */
function abilities(host: Host) {
  const {
    libvirt = '11.6.0',
    qemu = '10.1.0',
    sev = `<sev supported='yes'><cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits>
      <maxGuests>410</maxGuests><maxESGuests>99</maxESGuests></sev>`,
    launchSecurity = `<launchSecurity supported='yes'>${enumOf('sectype', 'sev', 'sev-snp', 'tdx')}</launchSecurity>`,
    tpm = `<tpm supported='yes'>${enumOf('model', 'tpm-tis', 'tpm-crb')}${enumOf('backendModel', 'passthrough', 'emulator')}${enumOf('backendVersion', '1.2', '2.0')}</tpm>`,
    loader = `<loader supported='yes'><value>/f/secboot.fd</value>${enumOf('type', 'rom', 'pflash')}${enumOf('secure', 'yes', 'no')}</loader>`,
  } = host;
  return readAbilities(
    `<domainCapabilities><machine>pc-q35-10.1</machine><vcpu max='255'/>
     <os supported='yes'>${loader}</os>
     <cpu><mode name='host-passthrough' supported='yes'/><mode name='custom' supported='yes'>
       <model usable='yes' vendor='AMD'>EPYC-Milan</model><model usable='no'>EPYC-Turin</model></mode></cpu>
     <devices>${tpm}</devices><features>${sev}${launchSecurity}</features></domainCapabilities>`,
    `Compiled against library: libvirt ${libvirt}\nUsing library: libvirt ${libvirt}\n` +
      `Using API: QEMU ${libvirt}\nRunning hypervisor: QEMU ${qemu}\n`,
  );
}

const states = (host: Host) => {
  const { sev, sevEs, sevSnp, tdx, vtpm, secureBoot } = abilities(host);
  return [sev, sevEs, sevSnp, tdx, vtpm, secureBoot].map(({ state }) => state).join(' ');
};

describe('what a host can do, from domain capabilities (draft-00 s.2.2)', () => {
  test('of a host that can do everything', () => {
    expect(states({})).toBe('yes yes yes yes yes yes');
    expect(abilities({})).toMatchObject({
      libvirtVersion: 11_006_000,
      qemuVersion: 10_001_000,
      slots: { sev: 410, sevEs: 99 },
      vcpusMax: 255,
      firmware: ['/f/secboot.fd'],
      vcpuTypes: ['EPYC-Milan'],
    });
  });

  test.each<[string, Host, string]>([
    ['no SEV', { sev: "<sev supported='no'/>" }, 'no no yes yes yes yes'],
    ['libvirt that does not speak of SEV', { sev: '' }, 'unknown unknown yes yes yes yes'],
    [
      'no ASIDs for SEV-ES',
      { sev: "<sev supported='yes'><maxGuests>5</maxGuests></sev>" },
      'yes no yes yes yes yes',
    ],
    ['libvirt 10.4', { libvirt: '10.4.0' }, 'yes yes no no yes yes'],
    ['libvirt 10.5', { libvirt: '10.5.0' }, 'yes yes yes no yes yes'],
    ['QEMU 9.0', { qemu: '9.0.9' }, 'yes yes no no yes yes'],
    ['QEMU 9.1', { qemu: '9.1.0' }, 'yes yes yes no yes yes'],
    [
      'no launch security',
      { launchSecurity: "<launchSecurity supported='no'/>" },
      'yes yes no no yes yes',
    ],
    [
      'launch security that is not listed',
      { launchSecurity: '' },
      'yes yes unknown unknown yes yes',
    ],
    [
      'SEV alone',
      {
        launchSecurity: `<launchSecurity supported='yes'>${enumOf('sectype', 'sev')}</launchSecurity>`,
      },
      'yes yes no no yes yes',
    ],
    ['no TPM', { tpm: "<tpm supported='no'/>" }, 'yes yes yes yes no yes'],
    [
      'no swtpm',
      { tpm: `<tpm supported='yes'>${enumOf('backendModel', 'passthrough')}</tpm>` },
      'yes yes yes yes no yes',
    ],
    ['no firmware', { loader: '' }, 'yes yes yes yes yes unknown'],
    [
      'firmware without Secure Boot',
      {
        loader: `<loader supported='yes'>${enumOf('type', 'pflash')}${enumOf('secure', 'no')}</loader>`,
      },
      'yes yes yes yes yes no',
    ],
  ])('%s', (_, host, expected) => {
    expect(states(host)).toBe(expected);
  });
});
