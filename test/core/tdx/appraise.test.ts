import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '#core/errors.js';
import { appraise, deny, lacks } from '#core/tdx/appraise.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { defaultRules, type TdxLevel, type TdxRules, tdxLevelRules } from '#core/tdx/rules.js';
import { verifyTdxQuote } from '#core/tdx/verify.js';
import {
  components,
  FakeIntel,
  fmspc,
  now,
  ppid,
  svn,
  type TdContent,
  tcbInfo,
  tcbLevel,
} from '../../fakes/intel.js';

const intel = await FakeIntel.create();
const digest = (byte: number) => new Uint8Array(48).fill(byte);
const septVeDisable = 1n << 28n;

async function claimsOf(td: TdContent = {}, change: Record<string, unknown> = {}) {
  const version = td.mrServiceTd === undefined && td.teeTcbSvn2 === undefined ? 4 : 5;
  const quote = parseTdxQuote(await intel.quote({ td: { mrTd: digest(1), ...td }, version }));
  const endorsements = await intel.endorsements({
    tcbInfo: await intel.signed('tcbInfo', tcbInfo(change)),
  });
  return verifyTdxQuote(quote, endorsements, [intel.anchor], now);
}

const none = [undefined, undefined, undefined, undefined] as const;
const reference = { mrTd: digest(1), rtmr: none, imageSvn: 3, name: 'image' };
const rules: TdxRules = { ...defaultRules, references: [reference] };
const sgx = components(5, 5, 2, 2, 3, 1, 0, 3);
const withStatus = (status: string, advisoryIDs: string[] = []) => ({
  tcbLevels: [tcbLevel(status, sgx, 13, components(6, 0, 3), { advisoryIDs })],
});

describe('what no policy can allow (protocol.md s.0.7, s.3.3)', () => {
  const rows: [string, TdContent, string[]][] = [
    ['a sound TD', {}, []],
    ['DEBUG', { tdAttributes: septVeDisable | 1n }, ['tdx.td-attributes.debug']],
    ...[1n, 2n, 3n, 4n, 5n, 6n, 7n].map((bit): [string, TdContent, string[]] => [
      `TUD bit ${bit}`,
      { tdAttributes: septVeDisable | (1n << bit) },
      ['tdx.td-attributes.debug'],
    ]),
    ...[8n, 16n, 27n, 32n, 62n].map((bit): [string, TdContent, string[]] => [
      `reserved bit ${bit}`,
      { tdAttributes: septVeDisable | (1n << bit) },
      ['tdx.td-attributes.reserved'],
    ]),
    ['XFAM without SSE', { xfam: 0x1n }, ['tdx.xfam.fixed']],
    ['XFAM beyond what a TD can have', { xfam: 0x602e7n | (1n << 20n) }, ['tdx.xfam.fixed']],
  ];
  it.each(rows)('%s', async (_, td, failed) => {
    expect(deny(await claimsOf(td)).map(({ check }) => check)).toEqual(failed);
  });
});

describe('rules of a policy (protocol.md s.3.3, s.6.8)', () => {
  type Row = [
    rule: string,
    td: TdContent,
    change: Record<string, unknown>,
    asked: Partial<TdxRules>,
    failed: string[],
  ];
  const advisory = { id: 'INTEL-SA-1', until: undefined };
  const rows: Row[] = [
    ['the defaults admit a sound TD', {}, {}, {}, []],
    ['no reference admits nothing', {}, {}, { references: [] }, ['measurement']],
    ['another MRTD', { mrTd: digest(2) }, {}, {}, ['measurement']],
    [
      'RTMRs that the reference states',
      { rtmr: [digest(4), digest(5), digest(6)] },
      {},
      { references: [{ ...reference, rtmr: [digest(4), digest(5), digest(6), undefined] }] },
      [],
    ],
    ...[0, 1, 2, 3].map((i): Row => {
      const rtmr = [0, 1, 2, 3].map((at) => (at === i ? digest(9) : undefined));
      const stated = rtmr as unknown as typeof reference.rtmr;
      return [
        `another RTMR${i}`,
        {},
        {},
        { references: [{ ...reference, rtmr: stated }] },
        ['measurement'],
      ];
    }),
    ['SWHardeningNeeded', {}, withStatus('SWHardeningNeeded'), {}, ['tcb-status']],
    [
      'SWHardeningNeeded that is admitted',
      {},
      withStatus('SWHardeningNeeded'),
      { statuses: ['SWHardeningNeeded'] },
      [],
    ],
    [
      'an open advisory',
      {},
      withStatus('SWHardeningNeeded', ['INTEL-SA-1']),
      { statuses: ['SWHardeningNeeded'] },
      ['advisories'],
    ],
    [
      'an accepted advisory',
      {},
      withStatus('SWHardeningNeeded', ['INTEL-SA-1']),
      { statuses: ['SWHardeningNeeded'], advisoriesAccepted: [advisory] },
      [],
    ],
    [
      'an advisory accepted until yesterday',
      {},
      withStatus('SWHardeningNeeded', ['INTEL-SA-1']),
      {
        statuses: ['SWHardeningNeeded'],
        advisoriesAccepted: [{ ...advisory, until: now - 86_400_000 }],
      },
      ['advisories'],
    ],
    [
      'a denied advisory, though UpToDate and accepted',
      {},
      withStatus('UpToDate', ['INTEL-SA-1']),
      { advisoriesAccepted: [advisory], advisoriesDenied: ['INTEL-SA-1'] },
      ['advisories'],
    ],
    ['OutOfDate', {}, withStatus('OutOfDate'), {}, ['tcb-status']],
    [
      'launched under an older module',
      { teeTcbSvn: svn(2, 1, 3), teeTcbSvn2: svn(6, 1, 3) },
      {},
      {},
      ['relaunch'],
    ],
    [
      'launched under an older module, admitted',
      { teeTcbSvn: svn(2, 1, 3), teeTcbSvn2: svn(6, 1, 3) },
      {},
      { statuses: ['TDRelaunchAdvised'] },
      [],
    ],
    ['SEPT_VE_DISABLE clear', { tdAttributes: 0n }, {}, {}, ['td-attributes.sept-ve-disable']],
    ['SEPT_VE_DISABLE clear, admitted', { tdAttributes: 0n }, {}, { allowSeptVe: true }, []],
    [
      'PERFMON against the mask',
      { tdAttributes: septVeDisable | (1n << 63n) },
      {},
      { tdAttributesMask: 1n << 63n },
      ['td-attributes'],
    ],
    ['XFAM against the mask', {}, {}, { xfamMask: 0x40n }, ['xfam']],
    ['MIGRATABLE', { tdAttributes: septVeDisable | (1n << 29n) }, {}, {}, ['migration']],
    [
      'MIGRATABLE with an admitted service TD',
      { tdAttributes: septVeDisable | (1n << 29n), mrServiceTd: digest(8) },
      {},
      { serviceTds: [digest(8)] },
      [],
    ],
    [
      'MIGRATABLE without the service TD that would be admitted',
      { tdAttributes: septVeDisable | (1n << 29n), mrServiceTd: digest(0) },
      {},
      { serviceTds: [digest(8)] },
      ['migration'],
    ],
    ['a service TD that is not listed', { mrServiceTd: digest(8) }, {}, {}, ['migration']],
    ['another MROWNER', {}, {}, { mrOwner: digest(1) }, ['mrowner']],
    ['another MROWNERCONFIG', {}, {}, { mrOwnerConfig: digest(1) }, ['mrownerconfig']],
    ['the MROWNER asked', { mrOwner: digest(1) }, {}, { mrOwner: digest(1) }, []],
    ['another module', { mrSeam: digest(1) }, {}, { modules: [digest(2)] }, ['module']],
    ['an admitted module', { mrSeam: digest(1) }, {}, { modules: [digest(1)] }, []],
    ['a platform not listed', {}, {}, { platformAllow: [new Uint8Array(16)] }, ['platform-allow']],
    ['an admitted platform', {}, {}, { platformAllow: [ppid] }, []],
    ['a denied platform', {}, {}, { platformDeny: [ppid] }, ['platform-deny']],
    ['a family not listed', {}, {}, { familyAllow: [new Uint8Array(6)] }, ['family-allow']],
    ['an admitted family', {}, {}, { familyAllow: [fmspc] }, []],
    ['a denied family', {}, {}, { familyDeny: [fmspc] }, ['family-deny']],
    [
      'all failures are listed',
      { tdAttributes: 0n, mrTd: digest(2) },
      withStatus('OutOfDate', ['INTEL-SA-1']),
      { platformDeny: [ppid] },
      ['measurement', 'tcb-status', 'advisories', 'td-attributes.sept-ve-disable', 'platform-deny'],
    ],
  ];
  it.each(rows)('%s', async (_, td, change, asked, failed) => {
    const failures = appraise(await claimsOf(td, change), { ...rules, ...asked });
    expect(failures.map(({ check }) => check)).toEqual(failed.map((check) => `tdx.${check}`));
  });

  it('codes tell an old TCB from an advised relaunch and from an advisory', async () => {
    const codes = async (td: TdContent, change: Record<string, unknown>) =>
      appraise(await claimsOf(td, change), rules).map(({ code }) => code);
    expect(await codes({}, withStatus('OutOfDate', ['INTEL-SA-1']))).toEqual([
      'POLICY_TCB',
      'POLICY_ADVISORY',
    ]);
    const relaunch = { teeTcbSvn: svn(2, 1, 3), teeTcbSvn2: svn(6, 1, 3) };
    expect(await codes(relaunch, {})).toEqual(['RELAUNCH_ADVISED']);
  });

  it.each<[string, TdContent, ErrorCode]>([
    ['a debug TD', { tdAttributes: septVeDisable | 1n }, 'POLICY_DEBUG'],
    ['a reserved attribute', { tdAttributes: septVeDisable | (1n << 8n) }, 'POLICY_GUEST'],
    ['an XFAM that no TD can have', { xfam: 0x1n }, 'POLICY_GUEST'],
    ['an MRTD that is not listed', { mrTd: digest(2) }, 'POLICY_MEASUREMENT'],
    ['a foreign service TD', { mrServiceTd: digest(8) }, 'POLICY_MIGRATION'],
  ])('%s has the code of what is wrong', async (_, td, code) => {
    const claims = await claimsOf(td);
    const failures = [...deny(claims), ...appraise(claims, rules)];
    expect(failures.map((failure) => failure.code)).toContain(code);
  });
});

const anyLevel: TdxLevel = {
  statuses: [],
  tcbDateMin: 0,
  evaluationNumberMin: 0,
  imageSvnMin: 0,
};

describe('levels (protocol.md s.6.4)', () => {
  const rows: [string, Partial<TdxLevel>, string[]][] = [
    ['that asks nothing', {}, []],
    ['of an admitted status', { statuses: ['UpToDate'] }, []],
    ['of another status', { statuses: ['SWHardeningNeeded'] }, ['tcb-status']],
    ['of the TCB date', { tcbDateMin: Date.parse('2025-01-01T00:00:00Z') }, []],
    ['of a later TCB date', { tcbDateMin: Date.parse('2025-01-02T00:00:00Z') }, ['tcb-date']],
    ['of the evaluation number', { evaluationNumberMin: 17 }, []],
    ['of a higher evaluation number', { evaluationNumberMin: 18 }, ['evaluation-number']],
    ['of the image SVN', { imageSvnMin: 3 }, []],
    ['of a higher image SVN', { imageSvnMin: 4 }, ['image-svn']],
    ['of the module’s SVN', { modulesMin: [{ version: 1, svn: 6 }] }, []],
    ['of a higher module SVN', { modulesMin: [{ version: 1, svn: 255 }] }, ['module']],
    ['of another module’s SVN', { modulesMin: [{ version: 9, svn: 255 }] }, []],
    ['without an advisory', { advisoriesClosed: ['INTEL-SA-2'] }, []],
  ];
  it.each(rows)('a level %s', async (_, change, failed) => {
    const failures = lacks(await claimsOf(), rules, { ...anyLevel, ...change });
    expect(failures.map(({ check }) => check)).toEqual(failed.map((c) => `tdx.level.${c}`));
  });

  it('the highest SVN counts where several references match', async () => {
    const references = [reference, { ...reference, imageSvn: 7 }];
    const level = { ...anyLevel, imageSvnMin: 7 };
    expect(lacks(await claimsOf(), { ...rules, references }, level)).toEqual([]);
  });

  const pairs: [Partial<TdxLevel>, Partial<TdxLevel>, string | undefined][] = [
    [{}, {}, undefined],
    [{ tcbDateMin: 2 }, { tcbDateMin: 2 }, undefined],
    [{ tcbDateMin: 2 }, { tcbDateMin: 1 }, 'tcb_date_min'],
    [{ tcbDateMin: 2 }, { tcbDateMin: 0 }, undefined],
    [{ evaluationNumberMin: 2 }, { evaluationNumberMin: 1 }, 'evaluation_number_min'],
    [{ imageSvnMin: 2 }, { imageSvnMin: 1 }, 'image_svn_min'],
    [
      { modulesMin: [{ version: 1, svn: 4 }] },
      { modulesMin: [{ version: 1, svn: 3 }] },
      'modules_min[1]',
    ],
    [{ modulesMin: [{ version: 1, svn: 4 }] }, { modulesMin: [{ version: 3, svn: 1 }] }, undefined],
    [{ statuses: ['UpToDate', 'OutOfDate'] }, { statuses: ['UpToDate'] }, undefined],
    [{ statuses: ['UpToDate'] }, { statuses: ['UpToDate', 'OutOfDate'] }, 'statuses'],
    [{ statuses: ['UpToDate'] }, {}, undefined],
  ];
  it.each(pairs)('%o, then %o: decreasing %s', (lower, higher, path) => {
    const found = tdxLevelRules.decreasing({ ...anyLevel, ...lower }, { ...anyLevel, ...higher });
    expect(found).toBe(path);
  });

  const versions: [Partial<TdxLevel>[], Partial<TdxLevel>[], string | undefined][] = [
    [[], [], undefined],
    [[{ tcbDateMin: 2 }], [{}, { tcbDateMin: 2 }], undefined],
    [[{ tcbDateMin: 2 }], [{ tcbDateMin: 1 }], 'tcb_date_min'],
    [[{ imageSvnMin: 2 }], [], 'image_svn_min'],
    [[{ modulesMin: [{ version: 1, svn: 4 }] }], [{}], 'modules_min[1]'],
    [[{ advisoriesClosed: ['A'] }], [{ advisoriesClosed: ['B'] }], 'advisories_closed'],
    [[{ advisoriesClosed: ['A'] }], [{}, { advisoriesClosed: ['B', 'A'] }], undefined],
    [[{ statuses: ['UpToDate'] }], [{}], 'statuses'],
    [[{ statuses: ['UpToDate'] }], [{ statuses: ['UpToDate', 'OutOfDate'] }], 'statuses'],
    [
      [{ statuses: ['UpToDate'] }],
      [{ statuses: ['UpToDate', 'OutOfDate'] }, { statuses: ['UpToDate'] }],
      undefined,
    ],
    [[{}], [{ statuses: ['UpToDate'] }], undefined],
  ];
  it.each(versions)('%o, replaced by %o: relaxed %s', (previous, next, path) => {
    const full = (levels: Partial<TdxLevel>[]) => levels.map((l) => ({ ...anyLevel, ...l }));
    expect(tdxLevelRules.relaxed(full(previous), full(next))).toBe(path);
  });
});
