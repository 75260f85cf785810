import { describe, expect, test } from 'vitest';
import { joinEndorsements, noEndorsements } from '#core/rats/endorsements.js';
import { parseReport } from '#core/snp/parse.js';
import { verifyReport } from '#core/snp/verify.js';
import {
  endorsementsOf,
  flipped,
  launchTestGuest,
  simulatedAuthority,
  simulatedProcessor,
  testTime,
} from '../../fakes/simulated-hardware.js';
import { refusalOf } from '../../refusal.js';

const hour = 3600 * 1000;

async function genuine() {
  const processor = await simulatedProcessor();
  const guest = await launchTestGuest(processor);
  const { report, certTable } = await guest.report({ reportData: new Uint8Array(64), vmpl: 0 });
  const { anchor } = await simulatedAuthority();
  return { report: parseReport(report), endorsements: endorsementsOf(certTable), anchor };
}

describe('a chain that was verified before (protocol.md s.6.8: what may be remembered)', () => {
  test('is accepted again, also after its caller changed the bytes that it gave', async () => {
    const { report, endorsements, anchor } = await genuine();
    await verifyReport(report, endorsements, [anchor], testTime);
    const given = endorsements.certificates.map((der) => der.slice());
    await verifyReport(report, { ...endorsements, certificates: given }, [anchor], testTime);
    for (const der of given) der.fill(0);
    await verifyReport(report, endorsements, [anchor], testTime);
  });

  test('is still judged by anchors, dates, signature of the report and every changed byte', async () => {
    const { report, endorsements, anchor } = await genuine();
    const verify = (change: Partial<Parameters<typeof verifyReport>[1]>, at = testTime) =>
      verifyReport(
        report,
        joinEndorsements({ ...endorsements, ...change }, noEndorsements),
        [anchor],
        at,
      );
    await verify({});
    expect(await refusalOf(verifyReport(report, endorsements, [], testTime))).toBe(
      'UNTRUSTED_ROOT',
    );
    expect(await refusalOf(verify({}, testTime + 40 * 365 * 24 * hour))).toBe('CERT_EXPIRED');
    for (const [i, der] of endorsements.certificates.entries()) {
      const certificates = endorsements.certificates.map((d, at) =>
        at === i ? flipped(der, der.length - 1) : d,
      );
      expect(await refusalOf(verify({ certificates }))).not.toBe('accepted');
    }
    const tampered = parseReport(flipped(report.bytes, 0x90));
    const work = verifyReport(tampered, endorsements, [anchor], testTime);
    expect(await refusalOf(work)).toBe('EVIDENCE_SIGNATURE_INVALID');
  });
});
