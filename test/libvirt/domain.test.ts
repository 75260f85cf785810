import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Domain, domainXml } from '#libvirt/domain/domain.js';
import { Virsh } from '#libvirt/virsh/virsh.js';
import { refusalOf } from '../refusal.js';
import { type Daemon, libvirtMissing, startDaemon } from './daemon.js';
import { encryptedDomain, security, vtpmDomain } from './domains.js';

const domains = {
  vtpm: vtpmDomain(),
  'vtpm-kernel': vtpmDomain({
    vcpuType: 'EPYC',
    boot: { kind: 'kernel', kernel: '/k', initrd: '/i', cmdline: 'console=ttyS0 a="b c"' },
  }),
  sev: encryptedDomain(security.sev),
  snp: encryptedDomain(security.snp),
  'snp-id': encryptedDomain(security.snpWithId),
  tdx: encryptedDomain(security.tdx),
};

describe('domain XML (libvirt, Domain XML format)', () => {
  test.each(Object.entries(domains))('%s is exactly this', async (name, domain) => {
    await expect(domainXml(domain)).toMatchFileSnapshot(`domains/${name}.xml`);
  });

  const wrong = new Uint8Array(31);
  const [{ snp, snpWithId, tdx }] = [security] as const;
  test.each([
    ['host_data', { ...snp, hostData: wrong }],
    ['id_block', { ...snpWithId, id: { block: wrong, auth: new Uint8Array(4096) } }],
    ['id_auth', { ...snpWithId, id: { block: new Uint8Array(96), auth: wrong } }],
    ['mrconfigid', { ...tdx, mrConfigId: wrong }],
    ['mrowner', { ...tdx, mrOwner: wrong }],
    ['mrownerconfig', { ...tdx, mrOwnerConfig: wrong }],
  ])('%s of another length is a mistake of ours', (field, launch) => {
    const domain = encryptedDomain(launch as typeof snp);
    expect(() => domainXml(domain)).toThrow(`${field} has 31 bytes`);
  });
});

const without = libvirtMissing === undefined ? '' : ` (${libvirtMissing} is not installed)`;
describe.skipIf(libvirtMissing !== undefined)(
  `domains as this libvirt takes them${without}`,
  () => {
    let daemon: Daemon;
    let virsh: Virsh;

    beforeAll(async () => {
      daemon = await startDaemon();
      virsh = new Virsh({ uri: daemon.uri, millisecondsMax: 60_000 });
    }, 60_000);

    afterAll(() => daemon?.stop());

    /** Without a network, for which virsh would make a device of the host. */
    function commandLine(domain: Domain): Promise<string> {
      const devices = { ...domain.devices, network: { kind: 'none' } as const };
      return virsh.askOf(domainXml({ ...domain, devices }), 'domxml-to-native', 'qemu-argv');
    }

    test('a guest with TPM and Secure Boot becomes this command line of QEMU', async () => {
      const argv = await commandLine(domains.vtpm);
      const words = (pattern: RegExp) => argv.match(pattern)?.[0];
      expect(words(/-machine \S+/)).toMatch(/q35.*smm=on.*pflash0=/);
      expect(argv).toContain('driver=cfi.pflash01,property=secure,value=on');
      expect(argv).toContain('-accel tcg');
      expect(words(/-device \S*"driver":"tpm-crb"\S*/) ?? argv).toMatch(/tpm-crb/);
      expect(argv).toContain('org.cvmp.guest.0');
      expect(argv).toMatch(/"serial":"cvmp-boot"/);
      expect(argv).toMatch(/"bootindex":1/);
      expect(argv).not.toMatch(/vnc|spice|usb-|balloon|sound/);
    });

    test('a command line with quotes reaches QEMU as it is', async () => {
      const argv = await commandLine(domains['vtpm-kernel']);
      expect(argv).toContain(`-append 'console=ttyS0 a="b c"'`);
    });

    test.each(['sev', 'snp', 'tdx'] as const)(
      'a host without %s says so before anything is defined',
      async (name) => {
        const domain = { ...domains[name], accelerator: 'qemu' as const, vcpuType: 'maximum' };
        expect(await refusalOf(virsh.askOf(domainXml(domain), 'define'))).toBe('HOST_UNSUITABLE');
        expect((await virsh.ask('list', '--all', '--name')).trim()).toBe('');
      },
    );
  },
);
