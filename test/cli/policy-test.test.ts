import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { toHex } from '#core/bytes.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { snpCollection } from '#core/snp/evidence.js';
import { toPem } from '#core/x509/pem.js';
import { SecurityProcessor } from '#sim/security-processor.js';
import { testGuestPolicy, testLaunchInputs } from '../fakes/simulated-hardware.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';
import { authority, fakeNow } from './fake-platform.js';

const folder = temporaryFolder('policy-test');
const path = (name: string) => join(folder, name);
let measurement: string;
let chip: string;

/** The policy of the tests; what is said replaces a line of it. */
function policy(change: { snp?: string; levels?: string; floor?: number } = {}): string {
  const { snp = '', levels = '[{n: 1, snp: {}}]', floor = 1 } = change;
  return `
policy_id: web
cvm_names: [web-*]
appraisal:
  allow_simulated: true
  snp: {measurements: [{digest: ${measurement}}]${snp}}
levels: ${levels}
svn_floor: ${floor}
`;
}

beforeAll(async () => {
  const processor = SecurityProcessor.create(authority, () => fakeNow);
  chip = toHex(processor.chip.chipId);
  for (const snp of [24, 20]) {
    processor.configure({ tcb: { ...processor.settings.tcb, snp } });
    const guest = await processor.launch({
      inputs: testLaunchInputs,
      guestPolicy: testGuestPolicy,
      hostData: new Uint8Array(32),
    });
    measurement = toHex(guest.measurement);
    const { report, certTable } = await guest.report({ reportData: new Uint8Array(64), vmpl: 0 });
    writeFileSync(path(`snp-${snp}.evidence`), encodeCmw(snpCollection(report, certTable)));
  }
  writeFileSync(path('root.pem'), toPem('CERTIFICATE', authority.arkCertificate));
  const tcb = (n: number, snp: number) =>
    `{n: ${n}, snp: {tcb_min: [{product: Genoa, tcb: {snp: ${snp}}}]}}`;
  const two = `[{n: 1, snp: {}}, ${tcb(2, 22)}]`;
  const files = {
    'v1.yaml': policy(),
    'two-levels.yaml': policy({ levels: two }),
    'raised.yaml': policy({ levels: two, floor: 2 }),
    'denied.yaml': policy({ snp: `, chip_deny: [${chip}]` }),
    'wider.yaml': policy({ levels: `[${tcb(1, 22)}]` }),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(path(name), text);
});

async function tried(argv: string) {
  const words = argv.split(' ').map((word) => word.replace(/^@/, `${folder}/`));
  const { code, json, terminal } = await commandLine(
    ['policy', 'test', ...words, '--trust-anchors', path('root.pem'), '--json'],
    { now: fakeNow },
  );
  return { code, json: json() as Record<string, unknown>, stderr: terminal.stderr };
}

const both = '--evidence @snp-24.evidence --evidence @snp-20.evidence';

describe('policy test on recorded evidence: exit code 1 where somebody loses', () => {
  test('a raised floor: who loses, who moves up, and why', async () => {
    const { code, json, stderr } = await tried(`@raised.yaml --against @v1.yaml ${both}`);
    expect(stderr).toBe('');
    expect(code).toBe(1);
    expect(json).toMatchObject({
      losing: 1,
      evidence_tested: 2,
      changes: [
        {
          who: path('snp-24.evidence'),
          change: 'higher level',
          before: 'level 1',
          after: 'level 2',
        },
        {
          who: path('snp-20.evidence'),
          change: 'loses',
          before: 'level 1',
          after: 'refused SVN_BELOW_FLOOR',
          reasons: [{ code: 'SVN_BELOW_FLOOR' }],
        },
      ],
    });
  });

  test('a level more: nobody loses', async () => {
    const { code, json } = await tried(`@two-levels.yaml --against @v1.yaml ${both}`);
    expect(code).toBe(0);
    expect(json).toMatchObject({
      losing: 0,
      changes: [{ change: 'higher level' }, { change: 'same' }],
    });
  });

  test('a denied chip, check by check; without a policy before, nobody had anything to lose', async () => {
    const denied = await tried(`@denied.yaml --against @v1.yaml ${both}`);
    expect(denied.code).toBe(1);
    expect(denied.json).toMatchObject({
      losing: 2,
      changes: [{ reasons: [{ code: 'POLICY_CHIP' }] }, { after: 'refused POLICY_CHIP' }],
    });
    const first = await tried(`@v1.yaml ${both}`);
    expect(first.code).toBe(0);
    expect(first.json).toMatchObject({ changes: [{ change: 'gains' }, { change: 'gains' }] });
    expect((await tried(`@denied.yaml ${both}`)).json).toMatchObject({
      changes: [{ change: 'no access', reasons: [{ code: 'POLICY_CHIP' }] }, {}],
    });
  });

  test('what no Key Server would take is refused: levels only tighten', async () => {
    const lax = await tried(`@v1.yaml --against @wider.yaml ${both}`);
    expect(lax.code).toBe(1);
    expect(lax.stderr).toContain('POLICY_NOT_TIGHTER');
    expect((await tried(`@v1.yaml --against @raised.yaml ${both}`)).stderr).toContain(
      'POLICY_NOT_TIGHTER',
    );
  });

  test('evidence that is not genuine is no basis; --against alone is wrong usage', async () => {
    writeFileSync(path('junk.evidence'), new Uint8Array(1184));
    expect((await tried('@v1.yaml --evidence @junk.evidence')).code).not.toBe(0);
    expect((await tried('@v1.yaml --against @v1.yaml')).code).toBe(2);
  });
});
