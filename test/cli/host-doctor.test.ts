import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { examineHost, type GuestKind, type Trials, unknownAbilities } from '#cli/host/checks.js';
import { readHostFacts } from '#cli/host/facts.js';
import { unknownTrials } from '#cli/host/trial.js';
import type { Ability, HostAbilities } from '#libvirt/abilities.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';

const snpHost: Readonly<Record<string, string>> = {
  'proc/cpuinfo': 'processor : 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu sev sev_es sev_snp\n',
  'proc/sys/kernel/osrelease': '6.11.0-1-amd64\n',
  'sys/module/kvm_amd/parameters/sev': 'Y\n',
  'sys/module/kvm_amd/parameters/sev_es': 'Y\n',
  'sys/module/kvm_amd/parameters/sev_snp': 'Y\n',
  'sys/kernel/iommu_groups/0/type': 'DMA\n',
  'dev/kvm': '',
  'dev/sev': '',
};

const tdxHost: Readonly<Record<string, string>> = {
  'proc/cpuinfo': 'vendor_id\t: GenuineIntel\nflags\t\t: fpu tdx_host_platform\n',
  'proc/sys/kernel/osrelease': '6.16.0\n',
  'sys/module/kvm_intel/parameters/tdx': 'Y\n',
  'dev/kvm': '',
  'var/run/tdx-qgs/qgs.socket': '',
};

function rootOf(files: Readonly<Record<string, string | undefined>>): string {
  const root = temporaryFolder('host');
  for (const [path, text] of Object.entries(files)) {
    if (text === undefined) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

const yes: Ability = { state: 'yes', why: 'so' };
const able: HostAbilities = {
  ...unknownAbilities(),
  sevSnp: yes,
  tdx: yes,
  vtpm: yes,
  secureBoot: yes,
};
const taken: Trials = { 'sev-snp': yes, tdx: yes, vtpm: yes };

function missing(kind: GuestKind, files: Readonly<Record<string, string | undefined>>) {
  const findings = examineHost([kind], readHostFacts(rootOf(files)), able, taken);
  return findings.filter(({ state }) => state !== 'yes').map(({ check }) => check);
}

describe('what a host lacks to run CVMs (draft-00 s.2.2)', () => {
  test('a host that has everything lacks nothing', () => {
    expect(missing('sev-snp', snpHost)).toEqual([]);
    expect(missing('tdx', tdxHost)).toEqual([]);
    expect(missing('vtpm', {})).toEqual([]);
  });

  test.each<[string, Readonly<Record<string, string | undefined>>, readonly string[]]>([
    ['another processor', { 'proc/cpuinfo': 'vendor_id : X\nflags : sev_snp\n' }, ['processor']],
    [
      'SNP off in the firmware',
      { 'proc/cpuinfo': 'vendor_id : AuthenticAMD\nflags : sev sev_es\n' },
      ['processor flag sev_snp'],
    ],
    ['no IOMMU', { 'sys/kernel/iommu_groups/0/type': undefined }, ['IOMMU']],
    ['an older kernel', { 'proc/sys/kernel/osrelease': '6.10.99\n' }, ['Linux 6.11 or later']],
    [
      'a kernel of the age before',
      { 'proc/sys/kernel/osrelease': '5.99\n' },
      ['Linux 6.11 or later'],
    ],
    ['no KVM', { 'dev/kvm': undefined }, ['/dev/kvm']],
    ['SNP off in KVM', { 'sys/module/kvm_amd/parameters/sev_snp': 'N\n' }, ['kvm_amd.sev_snp']],
    ['no module', { 'sys/module/kvm_amd/parameters/sev_es': undefined }, ['kvm_amd.sev_es']],
    ['no security processor', { 'dev/sev': undefined }, ['/dev/sev']],
  ])('sev-snp: %s', (_, change, checks) => {
    expect(missing('sev-snp', { ...snpHost, ...change })).toEqual(checks);
  });

  test.each<[string, Readonly<Record<string, string | undefined>>, readonly string[]]>([
    [
      'another processor',
      { 'proc/cpuinfo': snpHost['proc/cpuinfo'] },
      ['processor', 'processor flag tdx_host_platform'],
    ],
    ['an older kernel', { 'proc/sys/kernel/osrelease': '6.15.1\n' }, ['Linux 6.16 or later']],
    ['TDX off in KVM', { 'sys/module/kvm_intel/parameters/tdx': 'N\n' }, ['kvm_intel.tdx']],
    ['no quotes', { 'var/run/tdx-qgs/qgs.socket': undefined }, ['Quote Generation Service']],
  ])('tdx: %s', (_, change, checks) => {
    expect(missing('tdx', { ...tdxHost, ...change })).toEqual(checks);
  });

  test('each that is missing says what to do; what libvirt does not tell is unknown', () => {
    const facts = readHostFacts(rootOf({}));
    const kinds = ['sev-snp', 'tdx', 'vtpm'] as const;
    const findings = examineHost(kinds, facts, unknownAbilities(), unknownTrials());
    for (const { next } of findings) expect(next).toMatch(/\.$/);
    const states = findings.filter(({ kind }) => kind === 'vtpm').map(({ state }) => state);
    expect(states).toEqual(['unknown', 'unknown', 'unknown']);
  });
});

describe('cvmp host doctor', () => {
  const nowhere = ['--uri', 'qemu+unix:///session?socket=/nowhere/sock'];

  test('without libvirt it still says what else is missing, and ends with 1', async () => {
    const root = rootOf(snpHost);
    const { code, terminal } = await commandLine(['host', 'doctor', '--root', root, ...nowhere]);
    expect(code).toBe(1);
    expect(terminal.stdout).toMatch(/^sev-snp +processor +ok +by AMD$/m);
    expect(terminal.stdout).toMatch(/^tdx +processor +MISSING +by AMD$/m);
    expect(terminal.stdout).toMatch(/^sev-snp: cannot run here$/m);
    expect(terminal.stdout).toContain('Start libvirt, or name its connection with --uri.');
  });

  test('scripts get findings', async () => {
    const given = ['host', 'doctor', '--for', 'tdx', '--json', '--root', rootOf(tdxHost)];
    const { code, json } = await commandLine([...given, ...nowhere]);
    expect(code).toBe(1);
    expect(json()).toMatchObject({ possible: [] });
    expect(json().findings).toContainEqual({
      kind: 'tdx',
      check: 'kvm_intel.tdx',
      state: 'yes',
      found: 'Y',
      next: '',
    });
  });

  test('a kind that nobody knows is wrong usage', async () => {
    const { code, terminal } = await commandLine(['host', 'doctor', '--for', 'sgx']);
    expect(code).toBe(2);
    expect(terminal.stderr).toContain('sev-snp, tdx, vtpm');
  });
});
