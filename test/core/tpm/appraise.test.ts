import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '#core/errors.js';
import { parseEventLog } from '#core/eventlog/parse.js';
import { explainedRegisters } from '#core/eventlog/replay.js';
import { readSecureBoot } from '#core/eventlog/secure-boot.js';
import { appraise, deny, lacks } from '#core/tpm/appraise.js';
import { parseQuote } from '#core/tpm/attest.js';
import type { ActivatedKey, AkTrust, TpmClaims } from '#core/tpm/claims.js';
import { defaultRules, type TpmLevel, type TpmRules, tpmLevelRules } from '#core/tpm/rules.js';
import { crypto } from '#crypto';
import {
  certificate,
  eventLog,
  type FakeEvent,
  pcrsAfter,
  revokedImage,
  secureBootVariables,
  separator,
  soundBoot,
} from '../../fakes/event-log.js';
import { FakeTpm } from '../../fakes/tpm.js';

const tpm = new FakeTpm();
const ek: ActivatedKey = {
  akName: tpm.akName(),
  ekDigest: new Uint8Array(32).fill(7),
  anchorName: 'maker',
  simulated: false,
};
const activated: AkTrust = { by: 'activated-credential', ek };
const google: AkTrust = {
  by: 'certificate',
  anchor: { format: 'tpm', name: 'cloud', spkiDigest: new Uint8Array(32) },
  instance: {
    zone: 'zone-a',
    projectNumber: 1n,
    projectId: 'project',
    instanceId: 2n,
    instanceName: 'instance',
    isProduction: true,
    securityVersion: 0,
  },
};

async function claimsOf(
  events: readonly FakeEvent[],
  change: {
    readonly logged?: readonly FakeEvent[];
    readonly ak?: AkTrust;
    readonly count?: number;
  } = {},
): Promise<TpmClaims> {
  const pcrs = pcrsAfter(events, 'sha256', change.count ?? 24);
  const log = parseEventLog(eventLog(change.logged ?? events));
  const explained = await explainedRegisters(log, 'sha256', pcrs);
  const secureBoot = explained.has(7)
    ? readSecureBoot(log, 'sha256')
    : ({ state: 'unknown', why: 'PCR 7' } as const);
  return {
    format: 'tpm',
    simulated: false,
    reportData: new Uint8Array(32),
    configBinding: { field: 'PCR 15', hash: 'sha256', digest: new Uint8Array(32) },
    launchMeasurement: new Uint8Array(48),
    instanceId: undefined,
    chipId: undefined,
    measurements: {
      quote: parseQuote(tpm.attest(pcrs)),
      bank: 'sha256',
      pcrs,
      explained,
      secureBoot,
    },
    ak: change.ak ?? google,
    akDigest: new Uint8Array(32),
  };
}

const boot = soundBoot();
const held = pcrsAfter(boot);
const uki = {
  pcrs: new Map([
    [4, held.get(4)!],
    [11, held.get(11)!],
  ]),
  imageSvn: 3,
  name: 'uki',
};
const rules: TpmRules = { ...defaultRules, references: [uki] };
const commandLine: FakeEvent = { register: 12, type: 13, data: new Uint8Array(4).fill(1) };
const runtime: FakeEvent = { register: 10, type: 13, data: new Uint8Array(4).fill(2) };

describe('rules of a policy for TPM evidence (protocol.md s.4, s.6.8)', () => {
  type Row = [string, () => Promise<TpmClaims>, Partial<TpmRules>, string[]];
  const rows: Row[] = [
    ['the defaults admit a sound boot', () => claimsOf(boot), {}, []],
    ['no reference admits nothing', () => claimsOf(boot), { references: [] }, ['measurement']],
    [
      'a reference that states nothing admits nothing',
      () => claimsOf(boot),
      { references: [{ ...uki, pcrs: new Map() }] },
      ['measurement'],
    ],
    [
      'another PCR 4',
      () => claimsOf(boot),
      { references: [{ ...uki, pcrs: new Map([[4, new Uint8Array(32)]]) }] },
      ['measurement'],
    ],
    [
      'a PCR that is not quoted',
      () => claimsOf(boot, { count: 11 }),
      {},
      ['selection', 'measurement'],
    ],
    ['another bank', () => claimsOf(boot), { bank: 'sha384' }, ['selection']],
    [
      'a PCR that nothing explains',
      () => claimsOf([...boot, runtime], { logged: boot }),
      {},
      ['explained'],
    ],
    [
      'a PCR that need not be explained',
      () => claimsOf([...boot, runtime], { logged: boot }),
      { unexplained: [10] },
      [],
    ],
    [
      'a PCR that the reference states instead of the log',
      () => claimsOf([...boot, runtime], { logged: boot }),
      {
        references: [
          { ...uki, pcrs: new Map([...uki.pcrs, [10, pcrsAfter([...boot, runtime]).get(10)!]]) },
        ],
      },
      [],
    ],
    [
      'a command line from outside, although the log explains it',
      () => claimsOf([...boot, commandLine]),
      {},
      ['command-line'],
    ],
    [
      'a command line that the reference states',
      () => claimsOf([...boot, commandLine]),
      {
        references: [
          { ...uki, pcrs: new Map([...uki.pcrs, [12, pcrsAfter([commandLine]).get(12)!]]) },
        ],
      },
      [],
    ],
    ['Secure Boot off', () => claimsOf(soundBoot(0)), {}, ['secure-boot']],
    ['Secure Boot off, admitted', () => claimsOf(soundBoot(0)), { allowNoSecureBoot: true }, []],
    [
      'Secure Boot not proven',
      () => claimsOf(boot, { logged: boot.filter(({ register }) => register !== 7) }),
      { unexplained: [7] },
      ['secure-boot'],
    ],
    [
      'an admitted authority',
      () => claimsOf(boot),
      { authorities: [crypto.hash('sha256', certificate)] },
      [],
    ],
    [
      'another authority',
      () => claimsOf(boot),
      { authorities: [new Uint8Array(32)] },
      ['authorities'],
    ],
    ['a dbx that holds what it must', () => claimsOf(boot), { dbxHolds: [revokedImage] }, []],
    ['a dbx that lacks it', () => claimsOf(boot), { dbxHolds: [new Uint8Array(32)] }, ['dbx']],
    [
      'authorities and dbx that nothing proves',
      () => claimsOf([...secureBootVariables().slice(1), separator(7)]),
      {
        references: [{ ...uki, pcrs: new Map([[0, new Uint8Array(32)]]) }],
        authorities: [new Uint8Array(32)],
        dbxHolds: [new Uint8Array(32)],
        allowNoSecureBoot: true,
      },
      ['authorities', 'dbx'],
    ],
    ['trust of another kind', () => claimsOf(boot), { akTrust: ['azure-hcl'] }, ['ak-trust']],
    ['an admitted project', () => claimsOf(boot), { googleProjects: ['project'] }, []],
    ['another project', () => claimsOf(boot), { googleProjects: ['other'] }, ['google-project']],
    [
      'an AK without a project',
      () => claimsOf(boot, { ak: activated }),
      { googleProjects: ['project'] },
      ['google-project'],
    ],
    ['an admitted EK', () => claimsOf(boot, { ak: activated }), { ekAllow: [ek.ekDigest] }, []],
    [
      'another EK',
      () => claimsOf(boot, { ak: activated }),
      { ekAllow: [new Uint8Array(32)] },
      ['ek'],
    ],
    ['a refused EK', () => claimsOf(boot, { ak: activated }), { ekDeny: [ek.ekDigest] }, ['ek']],
    ['an EK that nothing proves', () => claimsOf(boot), { ekAllow: [ek.ekDigest] }, ['ek']],
    [
      'all failures are listed',
      () => claimsOf([...soundBoot(0), runtime], { logged: soundBoot(0) }),
      { bank: 'sha384', references: [], akTrust: ['azure-hcl'] },
      ['ak-trust', 'selection', 'measurement', 'explained', 'secure-boot'],
    ],
  ];
  it.each(rows)('%s', async (_, claims, asked, failed) => {
    const failures = appraise(await claims(), { ...rules, ...asked });
    expect(failures.map(({ check }) => check)).toEqual(failed.map((check) => `tpm.${check}`));
  });

  it.each<[string, () => Promise<TpmClaims>, Partial<TpmRules>, ErrorCode]>([
    ['Secure Boot that is off', () => claimsOf(soundBoot(0)), {}, 'POLICY_SECURE_BOOT'],
    ['an unlisted boot', () => claimsOf(boot), { references: [] }, 'POLICY_MEASUREMENT'],
    ['an unlisted command line', () => claimsOf([...boot, commandLine]), {}, 'POLICY_MEASUREMENT'],
  ])('%s has the code of what is wrong', async (_, claims, asked, code) => {
    const failures = appraise(await claims(), { ...rules, ...asked });
    expect(failures.map((failure) => failure.code)).toEqual([code]);
  });

  it('nothing is denied beyond what verification refused', async () => {
    expect(deny(await claimsOf(boot))).toEqual([]);
  });
});

describe('levels (protocol.md s.6.4)', () => {
  const any: TpmLevel = { imageSvnMin: 0, firmwareVersionMin: 0n };
  const rows: [string, Partial<TpmLevel>, string[]][] = [
    ['that asks nothing', {}, []],
    ['of the image SVN', { imageSvnMin: 3 }, []],
    ['of a higher image SVN', { imageSvnMin: 4 }, ['image-svn']],
    ['of the firmware version', { firmwareVersionMin: 0x20240101n }, []],
    ['of a later firmware version', { firmwareVersionMin: 0x20240102n }, ['firmware-version']],
  ];
  it.each(rows)('a level %s', async (_, level, failed) => {
    const failures = lacks(await claimsOf(boot), rules, { ...any, ...level });
    expect(failures.map(({ check }) => check)).toEqual(failed.map((c) => `tpm.level.${c}`));
  });

  it('levels must not decrease, nor a new policy relax them', () => {
    const [low, high] = [
      { ...any, imageSvnMin: 1 },
      { ...any, imageSvnMin: 2 },
    ];
    expect(tpmLevelRules.decreasing(low, high)).toBeUndefined();
    expect(tpmLevelRules.decreasing(high, low)).toBe('image_svn_min');
    expect(tpmLevelRules.relaxed([low, high], [high])).toBeUndefined();
    expect(tpmLevelRules.relaxed([high], [low])).toBe('image_svn_min');
    const newer = { ...any, firmwareVersionMin: 5n };
    expect(tpmLevelRules.decreasing(newer, { ...any, firmwareVersionMin: 4n })).toBe(
      'firmware_version_min',
    );
    expect(tpmLevelRules.decreasing(newer, any)).toBeUndefined();
    expect(tpmLevelRules.relaxed([newer], [any])).toBe('firmware_version_min');
    expect(tpmLevelRules.relaxed([newer], [any, newer])).toBeUndefined();
  });
});
