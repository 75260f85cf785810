import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { concat, toHex, utf8 } from '#core/bytes.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { snpCollection } from '#core/snp/evidence.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import { hclReport, runtimeData } from '../fakes/azure.js';
import { FakeCca } from '../fakes/cca.js';
import { spkiOf } from '../fakes/certificates.js';
import { digest, eventLog, pcrsAfter, soundBoot } from '../fakes/event-log.js';
import { FakeIntel, now, tcbInfo } from '../fakes/intel.js';
import { ccaMachine, ekMachine, tdxMachine } from '../fakes/machines.js';
import { launchTestGuest, simulatedProcessor } from '../fakes/simulated-hardware.js';
import { FakeTpm } from '../fakes/tpm.js';
import { temporaryFolder } from '../run-folder.js';
import { sharedVectors } from '../vectors.js';
import { commandLine } from './command-line.js';

const folder = temporaryFolder('evidence-kinds');
const boot = soundBoot();
const tpm = new FakeTpm('rsa');

/** Writes a file and gives its path. */
function put(name: string, content: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const pem = (label: 'PUBLIC KEY' | 'CERTIFICATE' | 'X509 CRL', der: Uint8Array) =>
  toPem(label as 'CERTIFICATE', der);
const json = (values: ReadonlyMap<number, Uint8Array>) =>
  JSON.stringify({
    sha256: Object.fromEntries([...values].map(([pcr, value]) => [pcr, toHex(value)])),
  });

interface Files {
  readonly tdx: string;
  readonly collateral: readonly string[];
  readonly root: string;
  readonly tpm: readonly string[];
  readonly azure: readonly string[];
  readonly ark: string;
  readonly cca: readonly string[];
}
let files: Files;
let intel: FakeIntel;

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  intel = await FakeIntel.create();
  const { certificates, crls, documents = [] } = await intel.endorsements();
  const quote = await intel.quote({ version: 5 });
  const pcrs = pcrsAfter(boot);
  const attest = tpm.attest(pcrs);
  const cca = await FakeCca.create();
  const processor = await simulatedProcessor('Genoa', () => now);
  const guest = await launchTestGuest(processor);
  const data = runtimeData(tpm, { 'user-data': '00'.repeat(64) });
  const reportData = concat(crypto.hash('sha256', data), new Uint8Array(32));
  const { report, certTable } = await guest.report({ reportData, vmpl: 0 });
  const tpmFiles = [
    put('attest.bin', attest),
    put('signature.bin', tpm.sign(attest)),
    put('pcrs.json', json(pcrs)),
    put('log.bin', eventLog(boot)),
  ];
  files = {
    tdx: put('quote.bin', quote),
    collateral: [
      ...certificates.map((der, i) => put(`tdx-${i}.der`, der)),
      ...crls.map((der, i) => put(`tdx-${i}.crl`, der)),
      ...documents.map(({ value }, i) => put(`tdx-${i}.json`, value)),
    ],
    root: put('root.pem', pem('CERTIFICATE', await intel.certificate('root'))),
    tpm: [...tpmFiles, put('ak.pem', pem('PUBLIC KEY', tpm.akSpki))],
    azure: [
      put('hcl.bin', hclReport({ hardware: report, runtimeData: data })),
      ...tpmFiles,
      put('certs.bin', certTable),
    ],
    ark: put('ark.pem', pem('CERTIFICATE', processor.chip.authority.arkCertificate)),
    cca: [
      put('token.cbor', await cca.token()),
      put('platform.pem', pem('PUBLIC KEY', spkiOf(cca.platformKey))),
    ],
  };
});

const run = (...argv: string[]) => commandLine(['evidence', ...argv], { now });

describe('evidence verify tells the kind by itself', () => {
  const rows: [string, () => readonly string[], object][] = [
    [
      'TDX with collateral',
      () => [files.tdx, ...files.collateral, '--trust-anchors', files.root],
      { kind: 'tdx', claims: { tcb_status: 'UpToDate', simulated: true }, notes: [] },
    ],
    [
      'TDX in any order, with options',
      () => [
        files.collateral[0]!,
        '--collateral',
        files.collateral[4]!,
        '--collateral',
        files.collateral[5]!,
        '--crl',
        files.collateral[2]!,
        '--crl',
        files.collateral[3]!,
        files.tdx,
        '--trust-anchors',
        files.root,
      ],
      { kind: 'tdx', claims: { tcb_status: 'UpToDate' } },
    ],
    [
      'TDX without collateral',
      () => [files.tdx, '--trust-anchors', files.root],
      { kind: 'tdx', claims: { tcb_status: 'not judged' }, notes: { length: 2 } },
    ],
    [
      'TPM',
      () => files.tpm,
      { kind: 'tpm', claims: { secure_boot: 'enabled', ak_trust: 'given on the command line' } },
    ],
    [
      'Azure',
      () => [...files.azure, '--trust-anchors', files.ark],
      { kind: 'azure-snp', claims: { hardware: { product: 'Genoa' }, ak_trust: 'azure-hcl' } },
    ],
    ['CCA', () => files.cca, { kind: 'cca', claims: { format: 'cca', simulated: true } }],
  ];
  test.each(rows)('%s', async (_, argv, expected) => {
    const { code, json: out } = await run('verify', ...argv(), '--json');
    expect(out()).toMatchObject({ accepted: true, ...expected });
    expect(code).toBe(0);
  });

  test('genuine evidence that no policy admits is told so', async () => {
    const file = put('debug.bin', await intel.quote({ td: { tdAttributes: 1n } }));
    const root = ['--trust-anchors', files.root, '--json'];
    for (const more of [files.collateral, []]) {
      const { notes } = (await run('verify', file, ...more, ...root)).json() as { notes: string[] };
      expect(notes.join('\n')).toMatch(/under debug/);
    }
  });

  test('a revocation list is enforced without the rest of the collateral too', async () => {
    const list = put('revoking.crl', await intel.crl('ca', { revoked: [Uint8Array.of(4)] }));
    const argv = ['verify', files.tdx, '--crl', list, '--trust-anchors', files.root, '--json'];
    expect((await run(...argv)).json()).toMatchObject({ code: 'CERT_REVOKED' });
  });

  const refusals: [string, () => readonly string[] | Promise<readonly string[]>, string][] = [
    ['TDX under the root of Intel', () => [files.tdx], 'UNTRUSTED_ROOT'],
    [
      'TDX with collateral of another family',
      async () => {
        const other = tcbInfo({ fmspc: '112233445566' });
        const path = put('other.json', await intel.signed('tcbInfo', other));
        const rest = files.collateral.filter((name) => !name.endsWith('tdx-0.json'));
        return [files.tdx, ...rest, path, '--trust-anchors', files.root];
      },
      'FMSPC_MISMATCH',
    ],
    [
      'TPM with values that were not quoted',
      () => {
        const pcrs = pcrsAfter(boot);
        pcrs.set(4, digest('sha256', utf8('other')));
        return [
          ...files.tpm.filter((f) => !f.endsWith('json')),
          put('other-pcrs.json', json(pcrs)),
        ];
      },
      'PCR_MISMATCH',
    ],
    [
      'TPM with the log of another boot',
      () => [
        ...files.tpm.filter((f) => !f.endsWith('log.bin')),
        put('other-log.bin', eventLog(soundBoot(0))),
      ],
      'EVENT_LOG_MISMATCH',
    ],
    [
      'TPM by another key',
      () => [
        ...files.tpm.filter((f) => !f.endsWith('ak.pem')),
        put('other.pem', pem('PUBLIC KEY', new FakeTpm('rsa').akSpki)),
      ],
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'Azure with a quote of another TPM',
      () => {
        const other = new FakeTpm('rsa');
        const attest = other.attest(pcrsAfter(boot));
        return [
          ...files.azure.filter((f) => !/attest|signature/.test(f)),
          put('other-attest.bin', attest),
          put('other-signature.bin', other.sign(attest)),
          '--trust-anchors',
          files.ark,
        ];
      },
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'CCA under another key',
      async () => [
        files.cca[0]!,
        put('x.pem', pem('PUBLIC KEY', spkiOf(await crypto.generateEcKey('P-384')))),
      ],
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    ['a log alone', () => [files.tpm[3]!], 'MALFORMED'],
    ['a file that is nothing', () => [put('hello', 'hello')], 'MALFORMED'],
  ];
  test.each(refusals)('refused: %s', async (_, argv, reason) => {
    const { code, json: out } = await run('verify', ...(await argv()), '--json');
    expect(out()).toMatchObject({ accepted: false, code: reason });
    expect(code).toBe(1);
  });

  const usages: [string, () => readonly string[]][] = [
    ['two kinds at once', () => [files.tdx, files.cca[0]!]],
    ['a quote without its signature', () => [files.tpm[0]!, files.tpm[4]!]],
    ['a quote without a key', () => [files.tpm[0]!, files.tpm[1]!]],
  ];
  test.each(usages)('wrong usage: %s', async (_, argv) => {
    const { code, terminal } = await run('verify', ...argv());
    expect(code).toBe(2);
    expect(terminal.stderr).toContain('USAGE');
  });

  test('what an agent sent is judged by its scheme', async () => {
    const document = utf8('config document');
    const reportData = new Uint8Array(64).fill(5);
    const kept = async (name: string, machine: Awaited<ReturnType<typeof tdxMachine>>) =>
      put(name, encodeCmw(await machine.evidence(document).collection(reportData)));
    const tdx = await tdxMachine(4, true);
    const root = put('tdx-root.pem', tdx.files.roots![0]!.bytes);
    const given = ['--trust-anchors', root, '--json'];
    const one = await run('verify', await kept('tdx.cmw', tdx), ...given);
    expect(one.json()).toMatchObject({ kind: 'tdx', claims: { tcb_status: 'UpToDate' } });

    const cca = await ccaMachine();
    const key = put('cca-key.json', cca.files.held![0]!.bytes);
    const two = await run('verify', await kept('cca.cmw', cca), '--collateral', key, '--json');
    expect(two.json()).toMatchObject({ kind: 'cca', claims: { report_data: toHex(reportData) } });

    const ek = await ekMachine();
    const file = await kept('tpm.cmw', ek);
    expect((await run('verify', file, '--json')).json()).toMatchObject({ code: 'AK_UNTRUSTED' });
    const ak = put('ak.tpmt', ek.tpm.akPublic());
    const three = await run('verify', file, '--key', ak, '--json');
    expect(three.json()).toMatchObject({ accepted: true, kind: 'tpm' });
  });

  test('a policy appraises each kind; without collateral it asks for it', async () => {
    const mrTd = toHex(crypto.hash('sha384', utf8('firmware')));
    const policy = (value: string) =>
      put(
        'policy.yaml',
        `policy_id: web\ncvm_names: [web]\nsvn_floor: 1\nlevels: [{n: 1, tdx: {}}]\n` +
          `appraisal: {allow_simulated: true, tdx: {references: [{mr_td: ${value}}]}}\n`,
      );
    const argv = ['verify', files.tdx, '--trust-anchors', files.root, '--policy'];
    const good = await run(...argv, policy(mrTd), ...files.collateral, '--json');
    expect(good.json()).toMatchObject({ accepted: true, appraisal: { level: 1 } });
    const bad = await run(...argv, policy('00'.repeat(48)), ...files.collateral, '--json');
    expect(bad.json()).toMatchObject({ accepted: false, code: 'POLICY_MEASUREMENT' });
    expect((await run(...argv, policy(mrTd))).code).toBe(2);
  });
});

describe('evidence show tells the kind by itself', () => {
  const rows: [string, () => string, RegExp][] = [
    ['a quote', () => files.tdx, /MRTD: +[0-9a-f]{96}\n.*launch measurement/],
    ['an HCL report', () => files.azure[0]!, /hardware_report:[\s\S]*MEASUREMENT:/],
    ['a TPM quote', () => files.tpm[0]!, /pcrSelect: +sha256: 0 1 2/],
    ['its signature', () => files.tpm[1]!, /algorithm: +RS256/],
    ['PCR values', () => files.tpm[2]!, /PCR 7: +[0-9a-f]{64}/],
    ['an event log', () => files.tpm[3]!, /EV_EFI_VARIABLE_DRIVER_CONFIG[\s\S]*replayed sha256/],
    ['a token', () => files.cca[0]!, /implementation_id: +[0-9a-f]{64}/],
    ['collateral', () => files.collateral[4]!, /tcbEvaluationDataNumber: +17/],
    ['a revocation list', () => files.collateral[2]!, /next_update/],
    ['a public key', () => files.cca[1]!, /public key/],
  ];
  test.each(rows)('%s', async (_, file, expected) => {
    const { code, terminal } = await run('show', file());
    expect(terminal.stdout).toMatch(expected);
    expect(code).toBe(0);
    expect((await run('show', file(), '--json')).json()).toHaveProperty('kind');
  });

  test('a collection shows every record', async () => {
    const collection = snpCollection(new Uint8Array(1184).fill(0), new Uint8Array());
    const file = put('empty.cmw', encodeCmw(collection));
    expect((await run('show', file)).code).not.toBe(2);
    const machine = await ekMachine();
    const records = await machine.evidence(utf8('d')).collection(new Uint8Array(64));
    const { terminal } = await run('show', put('tpm2.cmw', encodeCmw(records)));
    expect(terminal.stdout).toMatch(/tpm:[\s\S]*extraData[\s\S]*log-tcg: event log/);
  });
});

const vectors = sharedVectors();
describe.skipIf(vectors === undefined)('recorded evidence of real machines', () => {
  const at = (...names: string[]) => join(vectors ?? '', ...names);
  const all = (dir: string) => readdirSync(dir).map((name) => join(dir, name));
  const quotes = vectors === undefined ? [] : ['v4-dstack', 'v5-td15-a'];

  test.each(quotes)('%s: accepted, each falsified quote refused', async (name) => {
    const dir = at('tdx', name);
    expect((await run('verify', join(dir, 'quote.bin'))).code).toBe(0);
    const negative = join(dir, 'negative');
    const falsified = existsSync(negative) ? all(negative).filter((f) => f.endsWith('.bin')) : [];
    for (const file of falsified)
      expect([file, (await run('verify', file)).code]).toEqual([file, 1]);
  });

  test('Azure on SEV-SNP and on TDX, with what belongs to it', async () => {
    const tpmFiles = ['hcl_report.bin', 'quote_message.bin', 'quote_signature.bin', 'pcrs.json'];
    const snp = tpmFiles.map((name) => at('tpm', 'azure-snp-genoa-a', name));
    const chain = ['ask.pem', 'ark.pem'].map((name) => at('snp', 'chains', 'genoa', name));
    const vcek = at('tpm', 'azure-snp-genoa-a', 'vcek.der');
    expect((await run('verify', ...snp, vcek, ...chain)).code).toBe(0);
    const tdx = [...tpmFiles, 'td_quote.bin'].map((name) => at('tpm', 'azure-tdx-a', name));
    expect((await run('verify', ...tdx)).code).toBe(0);
    expect((await run('verify', ...snp, vcek, ...chain, tdx[0]!)).code).toBe(2);
  });
});
