import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import {
  type ReportFieldName,
  reportFields,
  reportLength,
  reservedRanges,
  signedLength,
} from '#core/snp/layout.js';
import { parseReport } from '#core/snp/parse.js';
import { encodeReport } from '#sim/report.js';
import { refusalOf } from '../../refusal.js';

/** Where the parsed value of each field is found. */
const parsed: Record<ReportFieldName, (report: ReturnType<typeof parseReport>) => unknown> = {
  VERSION: (r) => r.version,
  GUEST_SVN: (r) => r.guestSvn,
  POLICY: (r) => r.guestPolicy,
  FAMILY_ID: (r) => r.familyId,
  IMAGE_ID: (r) => r.imageId,
  VMPL: (r) => r.vmpl,
  SIGNATURE_ALGO: (r) => r.signatureAlgo,
  CURRENT_TCB: (r) => r.currentTcb,
  PLATFORM_INFO: (r) => r.platformInfo,
  KEY_INFO: (r) => r.keyInfo.raw,
  REPORT_DATA: (r) => r.reportData,
  MEASUREMENT: (r) => r.measurement,
  HOST_DATA: (r) => r.hostData,
  ID_KEY_DIGEST: (r) => r.idKeyDigest,
  AUTHOR_KEY_DIGEST: (r) => r.authorKeyDigest,
  REPORT_ID: (r) => r.reportId,
  REPORT_ID_MA: (r) => r.reportIdMa,
  REPORTED_TCB: (r) => r.reportedTcb,
  CPUID_FAM_ID: (r) => r.cpuid?.family,
  CPUID_MOD_ID: (r) => r.cpuid?.model,
  CPUID_STEP: (r) => r.cpuid?.stepping,
  CHIP_ID: (r) => r.chipId,
  COMMITTED_TCB: (r) => r.committedTcb,
  CURRENT_BUILD: (r) => r.currentFirmware.build,
  CURRENT_MINOR: (r) => r.currentFirmware.minor,
  CURRENT_MAJOR: (r) => r.currentFirmware.major,
  COMMITTED_BUILD: (r) => r.committedFirmware.build,
  COMMITTED_MINOR: (r) => r.committedFirmware.minor,
  COMMITTED_MAJOR: (r) => r.committedFirmware.major,
  LAUNCH_TCB: (r) => r.launchTcb,
  LAUNCH_MIT_VECTOR: (r) => r.launchMitVector,
  CURRENT_MIT_VECTOR: (r) => r.currentMitVector,
};

describe('ATTESTATION_REPORT (SEV-SNP ABI)', () => {
  it.each(Object.keys(reportFields) as ReportFieldName[])(
    '%s is read from its own bytes',
    (name) => {
      const { offset, length } = reportFields[name];
      const report = new Uint8Array(reportLength);
      report[0] = 5;
      const before = parsed[name](parseReport(report));
      for (let i = offset; i < offset + length; i++) report[i] = 0xa0 + (i - offset);
      const value = parsed[name](parseReport(report));
      expect(value).not.toEqual(before);
      if (value instanceof Uint8Array) expect(value).toEqual(report.slice(offset, offset + length));
      else
        expect(BigInt(value as number)).toBe(littleEndian(report.slice(offset, offset + length)));
    },
  );

  it('fields and reserved bytes cover every byte of the signed part once', () => {
    const covered = new Uint8Array(signedLength);
    for (const { offset, length } of [...Object.values(reportFields), ...reservedRanges]) {
      for (let i = offset; i < offset + length; i++) covered[i]! += 1;
    }
    expect(covered.every((n) => n === 1)).toBe(true);
  });

  it('a report has 1184 bytes', async () => {
    for (const length of [0, 1, 672, 1183, 1185, 2368]) {
      expect(await refusalOf(() => parseReport(new Uint8Array(length)))).toBe('MALFORMED');
    }
    expect(await refusalOf(() => parseReport(new Uint8Array(reportLength)))).toBe('accepted');
  });

  it('KEY_INFO says which key signed', () => {
    const signer = (raw: number) => parseReport(encodeReport({ KEY_INFO: raw })).keyInfo.signingKey;
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((n) => signer(n << 2))).toEqual([
      'VCEK',
      'VLEK',
      'reserved',
      'reserved',
      'reserved',
      'reserved',
      'reserved',
      'none',
    ]);
  });

  it('a report without CPUID says so', () => {
    const values = { CPUID_FAM_ID: 0x19, CPUID_MOD_ID: 0x11 };
    expect(parseReport(encodeReport({ ...values, VERSION: 2 })).cpuid).toBeUndefined();
    expect(parseReport(encodeReport({ ...values, VERSION: 3 })).cpuid).toEqual({
      family: 0x19,
      model: 0x11,
      stepping: 0,
    });
  });

  it('the report is a copy: a reused buffer does not change it', () => {
    const buffer = Buffer.alloc(reportLength, 7);
    const report = parseReport(buffer);
    buffer.fill(0);
    expect(toHex(report.measurement)).toBe('07'.repeat(48));
    expect(report.signed[0]).toBe(7);
  });

  it('any 1184 bytes parse', () => {
    const any = fc.uint8Array({ minLength: reportLength, maxLength: reportLength });
    fc.assert(
      fc.property(any, (bytes) => {
        expect(parseReport(bytes).bytes).toEqual(bytes);
      }),
      { numRuns: 100 },
    );
  });
});

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, octet) => (value << 8n) | BigInt(octet), 0n);
}
