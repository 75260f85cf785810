import { describe, expect, test } from 'vitest';
import { checkOwnReport, createAttester } from '#agent/attester/attester.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { tenantVerifyReportData } from '#core/rats/tenant-verify.js';
import { parseSnpCollection } from '#core/snp/evidence.js';
import { crypto } from '#crypto';
import { encodeReport } from '#sim/report.js';
import { InterceptedTsm, type Interference } from '../../fakes/configfs-tsm.js';
import { refusalOf } from '../../refusal.js';

const configDocument = crypto.randomBytes(100);
const hostData = crypto.hash('sha256', configDocument);
const randomBytes = (length: number) => crypto.randomBytes(length);
const attester = (interference: Interference) =>
  createAttester(new InterceptedTsm({ hostData, ...interference }), {
    configDocument,
    privlevel: undefined,
    randomBytes,
  });

describe('evidence of this CVM', () => {
  test('is a CMW collection around the report, over the data asked for', async () => {
    const reportData = tenantVerifyReportData(crypto.randomBytes(32), configDocument);
    const evidence = await attester({}).evidence(reportData);
    const { report } = parseSnpCollection(decodeCmw(evidence));
    expect(report.reportData).toEqual(reportData);
    expect(report.hostData).toEqual(hostData);
  });

  test('that binds another config document is CONFIG_MISMATCH, before anybody is spoken to', async () => {
    const other = attester({ hostData: crypto.randomBytes(32) });
    expect(await refusalOf(checkOwnReport(other, randomBytes))).toBe('CONFIG_MISMATCH');
  });

  test('that binds no config document at all is CONFIG_MISMATCH', async () => {
    const none = attester({ hostData: new Uint8Array(32) });
    expect(await refusalOf(checkOwnReport(none, randomBytes))).toBe('CONFIG_MISMATCH');
  });

  test('that binds this config document is taken', async () => {
    expect(await refusalOf(checkOwnReport(attester({}), randomBytes))).toBe('accepted');
  });

  test.each<[string, Interference, string]>([
    [
      'a report over other data',
      {
        report: () => encodeReport({ HOST_DATA: hostData, REPORT_DATA: new Uint8Array(64) }),
      },
      'TSM_BUSY',
    ],
    ['something that is no report', { report: () => new Uint8Array(1183) }, 'TSM_UNAVAILABLE'],
    [
      'a report of another architecture',
      {
        instead: (path) => (path.endsWith('/provider') ? 'tdx_guest\n' : undefined),
      },
      'TSM_UNAVAILABLE',
    ],
  ])('%s is refused', async (_, interference, code) => {
    expect(await refusalOf(checkOwnReport(attester(interference), randomBytes))).toBe(code);
  });
});

describe('report data of evidence for the tenant (draft-00 s.2.4)', () => {
  test('depends on the nonce and the config document, and has 64 bytes', () => {
    const nonce = crypto.randomBytes(32);
    const all = [
      tenantVerifyReportData(nonce, configDocument),
      tenantVerifyReportData(crypto.randomBytes(32), configDocument),
      tenantVerifyReportData(nonce, crypto.randomBytes(100)),
    ];
    expect(all.map((data) => data.length)).toEqual([64, 64, 64]);
    expect(new Set(all.map((data) => Buffer.from(data).toString('hex'))).size).toBe(3);
  });

  test('is SHA-512 of the deterministic CBOR of label, nonce and digest', () => {
    const nonce = new Uint8Array(32);
    const digest = crypto.hash('sha256', new Uint8Array([0xa0]));
    const label = new TextEncoder().encode('CVMP/1 tenant-verify');
    const cbor = [0x83, 0x74, ...label, 0x58, 32, ...nonce, 0x58, 32, ...digest];
    expect(tenantVerifyReportData(nonce, new Uint8Array([0xa0]))).toEqual(
      crypto.hash('sha512', new Uint8Array(cbor)),
    );
  });
});
