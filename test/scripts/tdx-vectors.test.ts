import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { toPem } from '#core/x509/pem.js';
import { judges } from '../../scripts/vectors/judges.js';
import { summarise } from '../../scripts/vectors/report.js';
import { judgeAll } from '../../scripts/vectors/run.js';
import { FakeIntel, now, qeIdentity, tcbInfo } from '../fakes/intel.js';
import { temporaryFolder } from '../run-folder.js';
import { sharedVectors } from '../vectors.js';

describe.skipIf(sharedVectors() === undefined)('TDX (needs ../shared/vectors)', () => {
  it('gives what every file says', async () => {
    const report = summarise(await judgeAll(join(sharedVectors()!, 'tdx'), judges));
    expect(report.mismatches).toEqual([]);
    expect(report.notJudged).toEqual([]);
    expect(report.kinds.every((kind) => kind.total > 0)).toBe(true);
  });
});

describe('the judge of synthetic TDX cases, on self-made ones', () => {
  it('sees each verdict, and a wrong expectation', async () => {
    const intel = await FakeIntel.create();
    const root = temporaryFolder('tdx');
    mkdirSync(join(root, 'quotes'));
    const { certificates, crls } = await intel.endorsements();
    const old = { tcbLevels: [] };
    const files: Record<string, Uint8Array | string> = {
      'quotes/good.bin': await intel.quote(),
      'quotes/debug.bin': await intel.quote({ td: { tdAttributes: (1n << 28n) | 1n } }),
      'quotes/old.bin': await intel.quote({ qe: { isvSvn: 2 } }),
      'signer.pem': toPem('CERTIFICATE', certificates[0]!),
      'root.pem': toPem('CERTIFICATE', certificates[1]!),
      'root.crl': crls[0]!,
      'pck.crl': crls[1]!,
      'tcb.json': await intel.signed('tcbInfo', tcbInfo()),
      'none.json': await intel.signed('tcbInfo', tcbInfo(old)),
      'qe.json': await intel.signed('enclaveIdentity', qeIdentity()),
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
    const base = {
      tcb_info: 'tcb.json',
      qe_identity: 'qe.json',
      pck_crl: 'pck.crl',
      root_ca_crl: 'root.crl',
      tcb_signing_chain: ['signer.pem', 'root.pem'],
      evaluation_time: new Date(now).toISOString(),
      verdict_with_real_intel_root: 'reject (untrusted-root)',
    };
    const rows: [string, string, string | undefined, object?][] = [
      ['good', 'accept', undefined],
      ['debug', 'policy', 'debug-allowed'],
      ['old', 'status', 'tcb-status', { what: 'QE is old: overall OutOfDate' }],
      ['good', 'reject', 'tcb-no-matching-level', { tcb_info: 'none.json' }],
      ['good', 'reject', 'signature-invalid'],
      ['old', 'status', 'tcb-status', { what: 'overall Revoked' }],
    ];
    const cases = rows.map(([quote, verdict, reason, more]) => ({
      ...base,
      quote: `quotes/${quote}.bin`,
      verdict_when_this_root_is_pinned: verdict,
      reason_class: reason,
      what: verdict,
      ...more,
    }));
    writeFileSync(
      join(root, 'expected.json'),
      JSON.stringify({ kind: 'intel-tdx-synthetic', cases }),
    );
    const report = summarise(await judgeAll(root, judges));
    expect(report.mismatches.map((m) => m.actual)).toEqual(['accept', 'status (OutOfDate)']);
    expect(report.kinds[0]).toMatchObject({ total: 12, asExpected: 10 });
  });
});
