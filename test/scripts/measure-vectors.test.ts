import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import { launchMeasurement, svsmLaunchMeasurement } from '#core/snp/launch/measure.js';
import { sevEsLaunchDigest, sevLaunchDigest } from '#core/snp/launch/sev.js';
import { crypto } from '#crypto';
import { simulatedFirmware, simulatedSvsm } from '#sim/firmware.js';
import { CaseFolder, type Json } from '../../scripts/vectors/judge.js';
import { judgeLaunchDigests } from '../../scripts/vectors/judges/launch-digests.js';
import { judgeRegisters } from '../../scripts/vectors/judges/tdx/registers.js';
import { temporaryFolder } from '../run-folder.js';
import { sharedVectors } from '../vectors.js';

const firmware = simulatedFirmware();
const svsm = simulatedSvsm();
const kernel = new TextEncoder().encode('kernel');
const empty = crypto.hash('sha256', new Uint8Array());
const boot = { kernelDigest: empty, initrdDigest: empty, cmdline: '' };
const cpu = { vcpus: 2, cpuSignature: 0x800f12 };

const args = {
  mode: 'SevMode.SEV_SNP',
  vcpus: 2,
  vcpu_sig: 0x800f12,
  ovmf_file: 'ovmf.bin',
  kernel: '(empty file)',
  initrd: '(empty file)',
  append: '',
  guest_features: 33,
  snp_ovmf_hash_str: '',
  vmm_type: 'VMMType.QEMU',
  svsm_file: '',
  ovmf_vars_size: 0,
};

async function judged(cases: readonly Json[]) {
  const folder = temporaryFolder('measure-vectors');
  writeFileSync(join(folder, 'ovmf.bin'), firmware);
  writeFileSync(join(folder, 'svsm.bin'), svsm);
  writeFileSync(join(folder, 'kernel'), kernel);
  const expected = JSON.stringify({ kind: 'sev-launch-digests', cases });
  writeFileSync(join(folder, 'expected.json'), expected);
  return judgeLaunchDigests(new CaseFolder(folder, folder));
}

const snp = { firmware, boot, ...cpu, guestFeatures: 33n, vmmType: 'QEMU' } as const;

describe('npm run vectors: sev-launch-digests', () => {
  it.each<[string, Record<string, Json>, Uint8Array]>([
    ['SEV-SNP', {}, launchMeasurement(snp)],
    ['a vCPU type by name', { vcpu_sig: 'EPYC-v4' }, launchMeasurement(snp)],
    ['EC2', { vmm_type: 'VMMType.ec2' }, launchMeasurement({ ...snp, vmmType: 'EC2' })],
    ['GCE', { vmm_type: 'VMMType.gce' }, launchMeasurement({ ...snp, vmmType: 'GCE' })],
    [
      'no kernel, no signature',
      { kernel: '', initrd: '', append: 'None', vcpu_sig: 'None' },
      launchMeasurement({ ...snp, boot: undefined, cpuSignature: 0 }),
    ],
    [
      'a kernel in a file',
      { kernel: 'kernel', append: 'quiet' },
      launchMeasurement({
        ...snp,
        boot: { ...boot, kernelDigest: crypto.hash('sha256', kernel), cmdline: 'quiet' },
      }),
    ],
    [
      'a digest in place of the pages',
      { snp_ovmf_hash_str: '11'.repeat(48) },
      launchMeasurement({ ...snp, firmwarePagesDigest: new Uint8Array(48).fill(0x11) }),
    ],
    ['SEV', { mode: 'SevMode.SEV' }, sevLaunchDigest(snp)],
    ['SEV-ES', { mode: 'SevMode.SEV_ES' }, sevEsLaunchDigest(snp)],
    [
      'an SVSM',
      { mode: 'SevMode.SEV_SNP_SVSM', svsm_file: 'svsm.bin', ovmf_vars_size: 0x84000, kernel: '' },
      svsmLaunchMeasurement({ firmware, svsm, variableStoreLength: 0x84000, ...cpu }),
    ],
  ])('%s', async (_, change, digest) => {
    const row = { test: 'row', args: { ...args, ...change }, launch_digest: toHex(digest) };
    const wrong = { ...row, launch_digest: toHex(digest.map((byte) => byte ^ 1)) };
    const found = await judged([row, wrong]);
    expect(found.map(({ asExpected }) => asExpected)).toEqual([true, false]);
  });

  it('errors are expected or not; unknown modes are not judged', async () => {
    const noPlace = { ...args, ovmf_file: 'svsm.bin', mode: 'SevMode.SEV' };
    const found = await judged([
      { test: 'fails', args: noPlace, error: 'RuntimeError' },
      { test: 'does not', args, error: 'RuntimeError' },
      { test: 'unknown', args: { ...args, mode: 'SevMode.CSV' }, launch_digest: '00' },
    ]);
    expect(found.map(({ asExpected }) => asExpected)).toEqual([true, false, undefined]);
  });
});

const shared = sharedVectors();
describe.skipIf(shared === undefined)(
  'npm run vectors: tdx-rtmr-replay, on changed copies (needs ../shared/vectors)',
  () => {
    async function changed(file: string, reason: string, text: (log: string) => string) {
      const folder = join(temporaryFolder('rtmr-vectors'), 'case');
      const source = join(shared!, 'measure/tdx-dstack-eventlog');
      for (const name of ['changed', 'negative'])
        mkdirSync(join(folder, name), { recursive: true });
      const files = ['event_log.json', 'quote.bin', 'expected.json'];
      for (const name of [...files, 'negative/event_log.payload-changed.json']) {
        writeFileSync(join(folder, name), readFileSync(join(source, name)));
      }
      const log = readFileSync(join(folder, 'event_log.json'), 'utf8');
      writeFileSync(join(folder, 'changed', file), text(log));
      const path = join(folder, 'expected.json');
      const expected = JSON.parse(readFileSync(path, 'utf8')) as { negatives: unknown[] };
      expected.negatives.push({
        file: `changed/${file}`,
        replaces: 'event_log.json',
        verdict: 'reject',
        reason_class: reason,
      });
      writeFileSync(path, JSON.stringify(expected));
      return (await judgeRegisters(new CaseFolder(folder, folder))).map((one) => one.asExpected);
    }

    it.each<[string, string, (log: string) => string]>([
      ['an event left out', 'rtmr-mismatch', (log) => JSON.stringify(JSON.parse(log).slice(1))],
      ['a digest of another event', 'event-log-mismatch', (log) => log.replace('8ae1', '8ae2')],
      ['half a file', 'malformed', (log) => log.slice(0, 1000)],
      [
        'a digest that is not hex',
        'malformed',
        (log) => log.replace('"digest": "', '"digest": "x'),
      ],
    ])('%s', async (name, reason, change) => {
      const found = await changed(`${name.replaceAll(' ', '-')}.json`, reason, change);
      expect(new Set(found)).toEqual(new Set([true]));
    });

    it('a log that explains everything is no negative', async () => {
      const found = await changed('same.json', 'rtmr-mismatch', (log) => log);
      expect(found.filter((asExpected) => asExpected === false)).toHaveLength(1);
    });
  },
);
