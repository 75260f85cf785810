import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { createKeyFile } from '#cli/profile/key-file.js';
import { toBase64Url, toHex, utf8 } from '#core/bytes.js';
import { ecPublicKey } from '#core/cose/key.js';
import { ecSpki } from '#core/crypto.js';
import { confirmationReportData } from '#core/ear/passport.js';
import { parseEar } from '#core/ear/token.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { snpCollection } from '#core/snp/evidence.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';
import { authority, fakeNow } from './fake-platform.js';
import { sampleGuest } from './sample-guest.js';

const folder = temporaryFolder('ear');
const path = (name: string) => join(folder, name);
const reportData = new Uint8Array(64).fill(4);
const policy = (measurement: string, simulated = true) => `
policy_id: web
cvm_names: [web-1]
svn_floor: 1
appraisal:
  allow_simulated: ${simulated}
  snp: {measurements: [{digest: ${measurement}, image_svn: 1}]}
levels: [{n: 1, snp: {}}, {n: 2, snp: {image_svn_min: 2}}]
`;

beforeAll(async () => {
  const guest = await sampleGuest(new Uint8Array(32).fill(8));
  const { report, certTable } = await guest.report({ reportData, vmpl: 0 });
  writeFileSync(path('web.evidence'), encodeCmw(snpCollection(report, certTable)));
  const documented = await sampleGuest(crypto.hash('sha256', utf8('a config document')));
  const shown = await documented.report({ reportData, vmpl: 0 });
  const collection = encodeCmw(snpCollection(shown.report, shown.certTable));
  writeFileSync(path('documented.evidence'), collection);
  const cnfKey = await createKeyFile(path('cnf.key'), 'P-256');
  writeFileSync(path('cnf.pem'), toPem('PUBLIC KEY', ecSpki('P-256', cnfKey.publicPoint)));
  const overKey = await guest.report({
    reportData: confirmationReportData(ecPublicKey('P-256', cnfKey.publicPoint)),
    vmpl: 0,
  });
  const bound = encodeCmw(snpCollection(overKey.report, overKey.certTable));
  writeFileSync(path('bound.evidence'), bound);
  const bad = report.slice();
  bad[0x2a0] = bad[0x2a0]! ^ 1;
  writeFileSync(path('forged.evidence'), encodeCmw(snpCollection(bad, certTable)));
  writeFileSync(path('root.pem'), toPem('CERTIFICATE', authority.arkCertificate));
  writeFileSync(path('good.yaml'), policy(toHex(guest.measurement)));
  writeFileSync(path('other.yaml'), policy('00'.repeat(48), false));
  for (const [name, curve] of [
    ['p256', 'P-256'],
    ['p384', 'P-384'],
  ] as const) {
    const key = await createKeyFile(path(`${name}.key`), curve);
    writeFileSync(path(`${name}.pem`), toPem('PUBLIC KEY', ecSpki(curve, key.publicPoint)));
  }
});

const run = (argv: string) =>
  commandLine(
    argv.split(' ').map((word) => word.replace(/^@/, `${folder}/`)),
    { now: fakeNow },
  );
const verify = (evidence: string, more: string) =>
  run(`evidence verify @${evidence} --trust-anchors @root.pem ${more} --json`);

describe('ear key', () => {
  test('a key as a policy takes it', async () => {
    const { terminal } = await run('ear key @p256.pem');
    const yaml = `
policy_id: web
cvm_names: [web-1]
svn_floor: 1
appraisal: {ear: {verifiers: [{name: v, keys: [${terminal.stdout.trim()}], status: affirming}]}}
levels: [{n: 1, ear: {}}]
`;
    writeFileSync(path('ear.yaml'), yaml);
    expect((await run('policy check @ear.yaml')).code).toBe(0);
    writeFileSync(path('wrong.yaml'), yaml.replace('keys: [', 'keys: [00'));
    const { json } = await run('policy check @wrong.yaml --json');
    expect(json()).toMatchObject({ error: { code: 'INVALID_FIELD' } });
    writeFileSync(path('misspelt.yaml'), yaml.replace('status:', 'affirming: [hard], status:'));
    const misspelt = await run('policy check @misspelt.yaml --json');
    expect(misspelt.json()).toMatchObject({ error: { code: 'INVALID_FIELD' } });
  });
});

describe('evidence verify --ear (draft-ietf-rats-ear)', () => {
  test.each([
    ['web.jwt', 'p256', 'jwt', ''],
    ['web.cwt', 'p384', 'cwt', ' --ear-profile ietf'],
  ])('%s: the appraisal as a signed result', async (out, key, form, more) => {
    const made = await verify(
      'web.evidence',
      `--policy @good.yaml --ear @${out} --ear-key @${key}.key${more}`,
    );
    expect(made.code).toBe(0);
    const ear = parseEar(new Uint8Array(readFileSync(path(out))));
    expect(ear.form).toBe(form);
    expect(ear.claims.submods.get('snp')).toMatchObject({
      // Simulated hardware is never affirmed.
      status: 'warning',
      nonces: [reportData],
      policyIds: [expect.stringMatching(/^policy@sha256:[0-9a-f]{64}$/)],
      cvmp: { level: 1, simulated: true, configDigest: new Uint8Array(32).fill(8) },
    });
    const judged = await run(`ear verify @${out} --key @${key}.pem --age-seconds-max 10 --json`);
    expect(judged.json()).toMatchObject({ accepted: true, form });
    const other = key === 'p256' ? 'p384' : 'p256';
    const refused = await run(`ear verify @${out} --key @${other}.pem --json`);
    expect([refused.code, refused.json().code]).toEqual([1, 'VERIFIER_UNTRUSTED']);
    const late = await run(`ear verify @${out} --key @${key}.pem --at 2030-01-01 --json`);
    expect([late.code, late.json().code]).toEqual([1, 'RESULT_STALE']);
    const shown = await run(`evidence show @${out}`);
    expect(shown.terminal.stdout).toMatch(/hardware: +32 \(warning\)/);
  });

  test('a confirmation key is named where the evidence is over it, and only there', async () => {
    const argv = '--policy @good.yaml --ear @cnf.jwt --ear-key @p256.key --ear-cnf @cnf.pem';
    expect((await verify('bound.evidence', argv)).code).toBe(0);
    const { claims } = parseEar(new Uint8Array(readFileSync(path('cnf.jwt'))));
    expect(claims.confirmationKey?.curve).toBe('P-256');
    const { json } = await verify('web.evidence', argv);
    expect(json()).toMatchObject({ error: { code: 'BINDING_MISMATCH' } });
  });

  test('what the policy refuses is contraindicated, each check in its category', async () => {
    const made = await verify(
      'web.evidence',
      '--policy @other.yaml --ear @refused.jwt --ear-key @p256.key',
    );
    expect(made.code).toBe(1);
    const { claims } = parseEar(new Uint8Array(readFileSync(path('refused.jwt'))));
    expect(claims.status).toBe('contraindicated');
    expect(claims.submods.get('snp')?.vector).toMatchObject({ executables: 33, hardware: 97 });
  });

  test('evidence that does not verify: cryptography failed', async () => {
    const made = await verify(
      'forged.evidence',
      '--policy @good.yaml --ear @forged.jwt --ear-key @p256.key',
    );
    expect(made.code).toBe(1);
    const { claims } = parseEar(new Uint8Array(readFileSync(path('forged.jwt'))));
    expect(claims.status).toBe('contraindicated');
    expect([...claims.submods.values()][0]?.vector?.hardware).toBe(99);
  });

  test.each([
    ['without a key', '--policy @good.yaml --ear @x.jwt', 'USAGE'],
    ['without a policy', '--ear @x.jwt --ear-key @p256.key', 'USAGE'],
    [
      'of an unknown profile',
      '--policy @good.yaml --ear @x.jwt --ear-key @p256.key --ear-profile x',
      'USAGE',
    ],
  ])('%s it is wrong usage', async (_what, argv, code) => {
    const { json } = await verify('web.evidence', argv);
    expect(json()).toMatchObject({ error: { code } });
  });

  test('a key that others can read is refused', async () => {
    await createKeyFile(path('open.key'), 'P-256');
    chmodSync(path('open.key'), 0o644);
    const { json } = await verify(
      'web.evidence',
      '--policy @good.yaml --ear @x.jwt --ear-key @open.key',
    );
    expect(json()).toMatchObject({ error: { code: 'CONFIG' } });
  });
});

describe('ear appraise', () => {
  const document = utf8('a config document');
  const request = (change: object = {}) =>
    JSON.stringify({
      binding: toBase64Url(reportData),
      evidence: toBase64Url(new Uint8Array(readFileSync(path('documented.evidence')))),
      evidence_type: 'application/cmw+cbor',
      config_document: toBase64Url(document),
      ...change,
    });
  const answer = async (change: object = {}) => {
    writeFileSync(path('request.json'), request(change));
    const argv = '--policy @good.yaml --ear-key @p256.key --trust-anchors @root.pem --json';
    const { json } = await run(`ear appraise @request.json ${argv}`);
    return json() as { error?: { code: string }; ear: string };
  };
  const resultOf = async (change: object = {}) => {
    const { submods } = parseEar(utf8((await answer(change)).ear)).claims;
    return [...submods.values()][0]!;
  };

  test('evidence over the Binding, of this config document, is appraised', async () => {
    expect(await resultOf()).toMatchObject({ status: 'warning', nonces: [reportData] });
  });

  test.each([
    ['another Binding', { binding: toBase64Url(new Uint8Array(64)) }],
    ['another config document', { config_document: toBase64Url(utf8('decoy')) }],
  ])('genuine evidence of %s is contraindicated', async (_what, change) => {
    const result = await resultOf(change);
    expect([result.status, result.cvmp]).toEqual(['contraindicated', undefined]);
  });

  test.each([
    ['a short Binding', { binding: toBase64Url(new Uint8Array(32)) }, 'MALFORMED'],
    ['another type of evidence', { evidence_type: 'text/plain' }, 'MALFORMED'],
    ['an unknown member', { more: 1 }, 'MALFORMED'],
    ['no evidence', { evidence: undefined }, 'MALFORMED'],
  ])('%s is no request', async (_what, change, code) => {
    expect(await answer(change)).toMatchObject({ error: { code } });
  });
});
