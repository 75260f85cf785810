import { describe, expect, it } from 'vitest';
import { fromHex } from '#core/bytes.js';
import { readQeIdentity } from '#core/tdx/endorsement/qe-identity.js';
import { readTcbInfo } from '#core/tdx/endorsement/tcb-info.js';
import { mergeStatus, type TcbStatus } from '#core/tdx/endorsement/tcb-status.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { evaluateTcb } from '#core/tdx/tcb.js';
import {
  components,
  FakeIntel,
  fmspc,
  isvLevel,
  type Json,
  ppid,
  qeIdentity,
  svn,
  type TdContent,
  tcbInfo,
  tcbLevel,
} from '../../fakes/intel.js';

const sgx = components(5, 5, 2, 2, 3, 1, 0, 3);
const platform = {
  ppid,
  components: sgx,
  pceSvn: 13,
  pceId: new Uint8Array(2),
  fmspc,
  platformInstanceId: undefined,
};

const intel = await FakeIntel.create();

async function evaluate(
  td: TdContent,
  options: {
    readonly version?: 4 | 5;
    readonly info?: Json;
    readonly identity?: Json;
    readonly qeIsvSvn?: number;
    readonly components?: readonly number[];
    readonly pceSvn?: number;
  } = {},
) {
  const { version = 4, qeIsvSvn = 4 } = options;
  const quote = parseTdxQuote(await intel.quote({ version, td, qe: { isvSvn: qeIsvSvn } }));
  return evaluateTcb(
    quote,
    {
      ...platform,
      components: options.components ?? sgx,
      pceSvn: options.pceSvn ?? platform.pceSvn,
    },
    readTcbInfo(tcbInfo(options.info)),
    readQeIdentity(qeIdentity(options.identity)),
  );
}

describe('TCB level (protocol.md s.3.2 step 12)', () => {
  it('is the first whose components are all reached', async () => {
    const high = await evaluate({});
    expect([high.platform?.status, high.status]).toEqual(['UpToDate', 'UpToDate']);
    const low = await evaluate({}, { pceSvn: 12 });
    expect([low.platform?.status, low.status]).toEqual(['OutOfDate', 'OutOfDate']);
    expect(low.advisoryIds).toEqual(['INTEL-SA-00002']);
  });

  it.each(Array.from({ length: 16 }, (_, i) => i))('needs SGX component %i', async (i) => {
    const asked = components(...Array.from({ length: 16 }, () => 1));
    const info = { tcbLevels: [tcbLevel('UpToDate', asked, 0, components())] };
    const reached = await evaluate({}, { info, components: asked });
    expect(reached.platform?.status).toBe('UpToDate');
    const lacking = asked.map((one, at) => (at === i ? one - 1 : one));
    expect((await evaluate({}, { info, components: lacking })).status).toBeUndefined();
  });

  // Intel PCS API v4: from 0 where TEE_TCB_SVN[1] is 0, from 2 otherwise. dcap-qvl compares all 16.
  it('TDX components 0 and 1 do not count for a module that has a version', async () => {
    const asked = components(9, 9, ...Array.from({ length: 14 }, () => 3));
    const info = {
      tcbLevels: [tcbLevel('UpToDate', sgx, 13, asked)],
      tdxModuleIdentities: [versionedModule([isvLevel(0, 'UpToDate')])],
    };
    const reached = components(...Array.from({ length: 16 }, () => 3));
    expect((await evaluate({ teeTcbSvn: svn(...reached) }, { info })).status).toBe('UpToDate');
    for (let i = 2; i < 16; i++) {
      const lacking = svn(...reached.map((one, at) => (at === i ? 2 : one)));
      expect((await evaluate({ teeTcbSvn: lacking }, { info })).status, `${i}`).toBeUndefined();
    }
  });

  it('all TDX components count for a module without version', async () => {
    const asked = components(3, 0, ...Array.from({ length: 14 }, () => 3));
    const info = { tcbLevels: [tcbLevel('UpToDate', sgx, 13, asked)] };
    expect((await evaluate({ teeTcbSvn: svn(...asked) }, { info })).status).toBe('UpToDate');
    for (let i = 0; i < 16; i++) {
      if (i === 1) continue;
      const lacking = svn(...asked.map((one, at) => (at === i ? 2 : one)));
      expect((await evaluate({ teeTcbSvn: lacking }, { info })).status, `${i}`).toBeUndefined();
    }
  });

  it('a quote that matches no level has no status at all', async () => {
    for (const options of [{ pceSvn: 4 }, { qeIsvSvn: 1 }, { components: components() }]) {
      const tcb = await evaluate({}, options);
      expect([tcb.status, tcb.tcbDate]).toEqual([undefined, undefined]);
    }
    expect((await evaluate({ teeTcbSvn: svn(1, 1, 3) })).status).toBeUndefined();
  });

  it('dates and evaluation numbers are the lowest of what was matched', async () => {
    const tcb = await evaluate({}, { qeIsvSvn: 2, identity: { tcbEvaluationDataNumber: 16 } });
    expect(tcb.tcbDate).toBe(Date.parse('2023-01-01T00:00:00Z'));
    expect(tcb.evaluationNumber).toBe(16);
  });
});

function versionedModule(tcbLevels: readonly Json[], id = 'TDX_03') {
  return {
    id,
    mrsigner: '00'.repeat(48),
    attributes: '00'.repeat(8),
    attributesMask: 'ff'.repeat(8),
    tcbLevels,
  };
}

describe('TDX module (step 11)', () => {
  it('is of the level of its own security version', async () => {
    const rows: [number, TcbStatus | undefined][] = [
      [7, 'UpToDate'],
      [6, 'UpToDate'],
      [5, 'OutOfDate'],
      [2, 'OutOfDate'],
      [1, undefined],
    ];
    for (const [isvSvn, status] of rows) {
      const tcb = await evaluate({ teeTcbSvn: svn(isvSvn, 1, 3) });
      expect([tcb.module.id, tcb.module.level?.status]).toEqual(['TDX_01', status]);
      expect(tcb.status).toBe(status);
    }
  });

  it('before versions were counted has no level of its own', async () => {
    const tcb = await evaluate({ teeTcbSvn: svn(6, 0, 3) });
    expect([tcb.module.id, tcb.module.level, tcb.status]).toEqual([
      undefined,
      undefined,
      'UpToDate',
    ]);
  });

  it('attributes count under the mask of the identity', async () => {
    const module = { ...versionedModule([isvLevel(0, 'UpToDate')], 'TDX_01') };
    const loose = { tdxModuleIdentities: [{ ...module, attributesMask: `f0${'ff'.repeat(7)}` }] };
    expect((await evaluate({ seamAttributes: 0x0fn }, { info: loose })).status).toBe('UpToDate');
    await expect(evaluate({ seamAttributes: 0x10n }, { info: loose })).rejects.toThrow(/module/);
  });

  it('identities are found whatever the case of their hex', async () => {
    const info = { tdxModuleIdentities: [versionedModule([isvLevel(0, 'UpToDate')], 'tdx_0a')] };
    expect((await evaluate({ teeTcbSvn: svn(1, 10, 3) }, { info })).module.id).toBe('tdx_0a');
  });
});

describe('merge of statuses (step 13)', () => {
  const rows: [TcbStatus, TcbStatus, TcbStatus][] = [
    ['UpToDate', 'UpToDate', 'UpToDate'],
    ['UpToDate', 'OutOfDate', 'OutOfDate'],
    ['SWHardeningNeeded', 'UpToDate', 'SWHardeningNeeded'],
    ['SWHardeningNeeded', 'OutOfDate', 'OutOfDate'],
    ['ConfigurationNeeded', 'UpToDate', 'ConfigurationNeeded'],
    ['ConfigurationNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['ConfigurationNeeded', 'SWHardeningNeeded', 'ConfigurationAndSWHardeningNeeded'],
    ['ConfigurationAndSWHardeningNeeded', 'UpToDate', 'ConfigurationAndSWHardeningNeeded'],
    ['ConfigurationAndSWHardeningNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['OutOfDate', 'UpToDate', 'OutOfDate'],
    ['OutOfDateConfigurationNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['OutOfDate', 'Revoked', 'Revoked'],
    ['Revoked', 'UpToDate', 'Revoked'],
  ];
  it.each(rows)('%s with %s is %s, in either order', (a, b, merged) => {
    expect(mergeStatus(a, b)).toBe(merged);
    expect(mergeStatus(b, a)).toBe(merged);
  });
});

describe('relaunch (Intel QVL 4.1.2.4.17.4.3): a TD keeps the level it was launched under', () => {
  const old = svn(2, 1, 3);
  const current = svn(6, 1, 3);

  it('launched under an old module, a current one is loaded now', async () => {
    const tcb = await evaluate({ teeTcbSvn: old, teeTcbSvn2: current }, { version: 5 });
    expect(tcb.module.level?.status).toBe('OutOfDate');
    expect(tcb.status).toBe('TDRelaunchAdvised');
  });

  it('and the platform needs configuration too', async () => {
    const info = { tcbLevels: [tcbLevel('ConfigurationNeeded', sgx, 13, components(6, 0, 3))] };
    const tcb = await evaluate({ teeTcbSvn: old, teeTcbSvn2: current }, { version: 5, info });
    expect(tcb.status).toBe('TDRelaunchAdvisedConfigurationNeeded');
  });

  const stays: [string, TdContent, Parameters<typeof evaluate>[1]][] = [
    ['the loaded module is old as well', { teeTcbSvn: old, teeTcbSvn2: svn(5, 1, 3) }, {}],
    ['the loaded module lacks microcode', { teeTcbSvn: old, teeTcbSvn2: svn(6, 1, 2) }, {}],
    ['the Quoting Enclave is old', { teeTcbSvn: old, teeTcbSvn2: current }, { qeIsvSvn: 2 }],
    ['the platform is old', { teeTcbSvn: old, teeTcbSvn2: current }, { pceSvn: 5 }],
  ];
  it.each(stays)('it stays OutOfDate where %s', async (_, td, options) => {
    expect((await evaluate(td, { version: 5, ...options })).status).toBe('OutOfDate');
  });

  it('a loaded module without version is current by the TDX components', async () => {
    const td = { teeTcbSvn: old, teeTcbSvn2: svn(6, 0, 3) };
    expect((await evaluate(td, { version: 5 })).status).toBe('TDRelaunchAdvised');
    const below = { teeTcbSvn: old, teeTcbSvn2: svn(5, 0, 3) };
    expect((await evaluate(below, { version: 5 })).status).toBe('OutOfDate');
  });

  it('version 4 cannot tell, so the TD is OutOfDate', async () => {
    expect((await evaluate({ teeTcbSvn: old })).status).toBe('OutOfDate');
  });
});

describe('collateral as Intel writes it (Intel PCS API v4)', () => {
  const level = tcbLevel('UpToDate', sgx, 13, components(6, 0, 3));
  const rows: [string, Json][] = [
    ['a status that Intel does not have', { tcbLevels: [{ ...level, tcbStatus: 'Fine' }] }],
    ['a relaunch status', { tcbLevels: [{ ...level, tcbStatus: 'TDRelaunchAdvised' }] }],
    ['15 components', { tcbLevels: [tcbLevel('UpToDate', sgx.slice(1), 13, components())] }],
    [
      'a component above 255',
      { tcbLevels: [tcbLevel('UpToDate', components(256), 13, components())] },
    ],
    ['a negative PCE SVN', { tcbLevels: [tcbLevel('UpToDate', sgx, -1, components())] }],
    ['a fraction', { tcbEvaluationDataNumber: 1.5 }],
    ['a date that is none', { issueDate: '2026-13-01T00:00:00Z' }],
    ['a date with another zone', { issueDate: '2026-01-01T00:00:00+01:00' }],
    ['an FMSPC of 5 bytes', { fmspc: '0000000000' }],
    ['an FMSPC that is no hex', { fmspc: 'zzzzzzzzzzzz' }],
    ['no module', { tdxModule: undefined }],
    ['advisories that are no texts', { tcbLevels: [{ ...level, advisoryIDs: [1] }] }],
  ];
  it.each(rows)('%s is malformed', (_, change) => {
    expect(() => readTcbInfo(tcbInfo(change))).toThrow(
      expect.objectContaining({ code: 'MALFORMED' }),
    );
  });

  it('members that are not known are read over', () => {
    const read = readTcbInfo(tcbInfo({ more: true, tcbLevels: [{ ...level, more: [] }] }));
    expect(read.fmspc).toEqual(fromHex('00906ea10000'));
  });
});
