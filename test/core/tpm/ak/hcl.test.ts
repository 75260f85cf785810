import { describe, expect, it } from 'vitest';
import { concat, utf8 } from '#core/bytes.js';
import { parseHclReport, verifyRuntimeData } from '#core/tpm/ak/hcl.js';
import { crypto } from '#crypto';
import { hclReport, runtimeData } from '../../../fakes/azure.js';
import { FakeTpm } from '../../../fakes/tpm.js';
import { refusalOf } from '../../../refusal.js';

const tpm = new FakeTpm('rsa');
const hardware = new Uint8Array(1184).fill(3);
const json = runtimeData(tpm);
const good = hclReport({ hardware, runtimeData: json });
const refusal = (bytes: Uint8Array) => refusalOf(() => parseHclReport(bytes));
const changed = (at: number, ...bytes: readonly number[]) => {
  const out = good.slice();
  out.set(bytes, at);
  return out;
};
const withJson = (text: string) => hclReport({ hardware, runtimeData: utf8(text) });

describe('HCL report of Azure (protocol.md s.4, AK trust c)', () => {
  it('hardware report, AK and user data are read; padding behind it is not', () => {
    const report = parseHclReport(concat(good, new Uint8Array(164)));
    expect(report.hardware).toBe('snp');
    expect(report.hardwareReport).toEqual(hardware);
    expect(report.akSpki).toEqual(tpm.akSpki);
    expect(report.runtimeData).toEqual(json);
    expect(report.userData).toEqual(new Uint8Array(64).fill(0xab));
  });

  it('TDX, and runtime data without user data', () => {
    const { hardware: type, userData } = parseHclReport(
      hclReport({
        hardware,
        reportType: 4,
        runtimeData: runtimeData(tpm, { 'user-data': undefined }),
      }),
    );
    expect([type, userData]).toEqual(['tdx', new Uint8Array(64)]);
  });

  const rows: [string, () => Uint8Array, string][] = [
    ['another signature', () => changed(0, 0), 'MALFORMED'],
    ['version 3', () => changed(4, 3), 'UNSUPPORTED_VERSION'],
    ['another request', () => changed(12, 1), 'MALFORMED'],
    ['another hardware', () => changed(1224, 3), 'UNSUPPORTED_EVIDENCE'],
    ['an unknown hash', () => changed(1228, 9), 'MALFORMED'],
    ['runtime data beyond the end', () => changed(1232, 0xff, 0xff, 0xff, 0x7f), 'MALFORMED'],
    ['sizes that do not agree', () => changed(1216, 0), 'MALFORMED'],
    ['no JSON', () => withJson('{'), 'MALFORMED'],
    ['no object', () => withJson('[]'), 'MALFORMED'],
    ['no keys', () => withJson('{}'), 'MALFORMED'],
    ['no AK', () => withJson('{"keys":[{"kid":"HCLEkPub"}]}'), 'MALFORMED'],
    ['two AKs', () => withJson('{"keys":[{"kid":"HCLAkPub"},{"kid":"HCLAkPub"}]}'), 'MALFORMED'],
    [
      'an AK of another type',
      () => withJson('{"keys":[{"kid":"HCLAkPub","kty":"EC"}]}'),
      'MALFORMED',
    ],
    [
      'an AK of 8 bits',
      () => withJson('{"keys":[{"kid":"HCLAkPub","kty":"RSA","n":"_w","e":"AQAB"}]}'),
      'MALFORMED',
    ],
    [
      'user data of 63 bytes',
      () =>
        hclReport({ hardware, runtimeData: runtimeData(tpm, { 'user-data': 'ab'.repeat(63) }) }),
      'MALFORMED',
    ],
    [
      'user data that is no hex',
      () => hclReport({ hardware, runtimeData: runtimeData(tpm, { 'user-data': 'xy' }) }),
      'MALFORMED',
    ],
    ['16 KiB', () => concat(good, new Uint8Array(16384)), 'SIZE'],
  ];
  it.each(rows)('%s is refused', async (_, make, code) => {
    expect(await refusal(make())).toBe(code);
  });

  it('every truncation is refused', async () => {
    for (let length = 0; length < good.length; length += 3) {
      expect(await refusal(good.slice(0, length)), `${length}`).toBe('MALFORMED');
    }
  });
});

describe('the hardware report was made over this runtime data', () => {
  const report = parseHclReport(good);
  const digest = crypto.hash('sha256', json);
  const rows: [string, Uint8Array, string][] = [
    ['the digest and zeros', concat(digest, new Uint8Array(32)), 'accepted'],
    ['another digest', new Uint8Array(64), 'RUNTIME_DATA_MISMATCH'],
    ['the digest and more', concat(digest, new Uint8Array(32).fill(1)), 'RUNTIME_DATA_MISMATCH'],
    [
      'a prefix of the digest',
      concat(digest.slice(0, 31), new Uint8Array(33)),
      'RUNTIME_DATA_MISMATCH',
    ],
  ];
  it.each(rows)('%s', async (_, reportData, code) => {
    expect(await refusalOf(() => verifyRuntimeData(report, reportData))).toBe(code);
  });
});
