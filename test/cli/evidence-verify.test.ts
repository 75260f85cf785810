import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { toHex } from '#core/bytes.js';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { reportFields } from '#core/snp/layout.js';
import { toPem } from '#core/x509/pem.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';
import { authority, fakeNow } from './fake-platform.js';
import { sampleGuest } from './sample-guest.js';

const folder = temporaryFolder('evidence');
const path = (name: string) => join(folder, name);
let measurement: string;

/** Writes report.bin, vcek.der, ask.der, ark.der, bundle.pem, anchors of both forms, CRLs. */
beforeAll(async () => {
  const guest = await sampleGuest(new Uint8Array(32));
  measurement = toHex(guest.measurement);
  const { report, certTable } = await guest.report({ reportData: new Uint8Array(64), vmpl: 0 });
  writeFileSync(path('report.bin'), report);
  for (const { kind, data } of parseCertTable(certTable)) {
    writeFileSync(path(`${kind.toLowerCase()}.der`), data);
  }
  writeFileSync(path('ark.der'), authority.arkCertificate);
  const bundle = [authority.askCertificate, authority.arkCertificate];
  writeFileSync(path('bundle.pem'), bundle.map((der) => toPem('CERTIFICATE', der)).join(''));
  writeFileSync(path('root.pem'), toPem('CERTIFICATE', authority.arkCertificate));
  const { name, spkiDigest } = authority.anchor;
  const anchors = [{ name, spki_sha256: toHex(spkiDigest) }];
  writeFileSync(path('root.json'), JSON.stringify({ anchors }));
  writeFileSync(path('revoked.crl'), authority.issueCrl(fakeNow, ['ask']));
  writeFileSync(path('empty.crl'), authority.issueCrl(fakeNow));
});

const run = (argv: string) =>
  commandLine(
    ['evidence', 'verify', ...argv.split(' ').map((word) => word.replace(/^@/, `${folder}/`))],
    { now: fakeNow },
  );
const chain = '--cert @vcek.der --cert @ask.der --cert @ark.der';

describe('evidence verify: exit code 0 accepted, 1 refused, 2 wrong usage', () => {
  const accepted = [
    `@report.bin ${chain} --trust-anchors @root.pem`,
    `@report.bin --cert @ark.der --cert @ask.der --cert @vcek.der --trust-anchors @root.json`,
    `@report.bin --cert @vcek.der --cert @bundle.pem --trust-anchors @root.pem`,
    `@report.bin --cert @vcek.der @ask.der @ark.der --trust-anchors @root.pem`,
    `@report.bin ${chain} --trust-anchors @root.pem --crl @empty.crl`,
    `@report.bin ${chain} --trust-anchors @root.pem --at ${fakeNow / 1000}`,
    `@report.bin ${chain} --trust-anchors @root.pem --at 2028-01-01`,
  ];
  test.each(accepted)('accepted: %s', async (argv) => {
    const { code, json, terminal } = await run(`${argv} --json`);
    expect(terminal.stderr).toBe('');
    expect(code).toBe(0);
    expect(json()).toMatchObject({ accepted: true, claims: { measurement, simulated: true } });
  });

  const refused: readonly (readonly [argv: string, code: string])[] = [
    [`@report.bin ${chain}`, 'UNTRUSTED_ROOT'],
    ['@report.bin --cert @vcek.der --trust-anchors @root.pem', 'CHAIN_INVALID'],
    ['@report.bin --trust-anchors @root.pem', 'CHAIN_INVALID'],
    [`@report.bin ${chain} --trust-anchors @root.pem --crl @revoked.crl`, 'CERT_REVOKED'],
    [`@report.bin ${chain} --trust-anchors @root.pem --at 2020-01-01`, 'CERT_EXPIRED'],
    [`@report.bin ${chain} --trust-anchors @root.pem --at 2060-01-01T00:00:00Z`, 'CERT_EXPIRED'],
    [`@ask.der ${chain} --trust-anchors @root.pem`, 'MALFORMED'],
    [`@tampered.bin ${chain} --trust-anchors @root.pem`, 'EVIDENCE_SIGNATURE_INVALID'],
  ];
  test.each(refused)('refused: %s', async (argv, reason) => {
    const tampered = readFileSync(path('report.bin'));
    tampered[reportFields.MEASUREMENT.offset]! ^= 1;
    writeFileSync(path('tampered.bin'), tampered);
    const { code, json } = await run(`${argv} --json`);
    expect(code).toBe(1);
    expect(json()).toMatchObject({ accepted: false, code: reason });
    for (const name of ['check', 'message', 'hint', 'at']) {
      expect(json()[name]).toMatch(/./);
    }
    const people = await run(argv);
    expect(people.code).toBe(1);
    expect(people.terminal.stdout).toMatch(new RegExp(`^refused: ${reason} `));
  });

  const usage = [
    '@nowhere.bin',
    '@report.bin --cert @nowhere.der',
    '@report.bin --crl @nowhere.crl',
    '@report.bin --trust-anchors @nowhere.json',
    '@report.bin --trust-anchors @report.bin',
    '@report.bin --at yesterday',
    '@report.bin --at 2028-13-01',
    '@report.bin --at',
    '@report.bin --certs @vcek.der',
    `@report.bin ${chain} --trust-anchors @root.pem --policy @nowhere.yaml`,
  ];
  test.each(usage)('wrong usage: %s', async (argv) => {
    const { code, terminal } = await run(argv);
    expect(code).toBe(2);
    expect(terminal.stdout).toBe('');
    expect(terminal.stderr).toContain('hint: see cvmp evidence verify --help');
  });

  test('--policy adds appraisal: every failed check is named', async () => {
    const policy = (digest: string, more = '') => `
policy_id: web
cvm_names: [web]
appraisal:
  allow_simulated: ${more === ''}
  snp: {vmpl: ${more === '' ? 0 : 1}, measurements: [{digest: ${digest}}]}
levels: [{n: 1, snp: {}}]
svn_floor: 1
`;
    const argv = `@report.bin ${chain} --trust-anchors @root.pem --policy @p.yaml`;
    writeFileSync(path('p.yaml'), policy(measurement));
    const good = await run(`${argv} --json`);
    expect(good.code).toBe(0);
    expect(good.json()).toMatchObject({ accepted: true, appraisal: { level: 1, failures: [] } });

    writeFileSync(path('p.yaml'), policy('00'.repeat(48), 'bad'));
    const bad = await run(`${argv} --json`);
    expect(bad.code).toBe(1);
    const { appraisal } = bad.json() as { appraisal: { failures: { code: string }[] } };
    expect(appraisal.failures.map(({ code }) => code).sort()).toEqual([
      'POLICY_MEASUREMENT',
      'POLICY_SIMULATED',
      'POLICY_VMPL',
    ]);
    expect((await run(argv)).terminal.stdout).toContain('the policy refuses it:');

    writeFileSync(path('p.yaml'), 'policy_id: web\nlevels: []\n');
    const wrong = await run(argv);
    expect(wrong.code).toBe(1);
    expect(wrong.terminal.stderr).toContain('INVALID_FIELD');
  });
});
