import { beforeAll, describe, expect, test } from 'vitest';
import { noEndorsements, type VendorStatement } from '#core/rats/endorsements.js';
import { encodeCertTable, parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { endorses, snpNeeds } from '#core/snp/endorsement/needs.js';
import { parseReport, type SnpReport } from '#core/snp/parse.js';
import type { SnpProduct } from '#core/snp/product.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { productTcb } from '#sim/chip.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import {
  endorsementsOf,
  launchTestGuest,
  patched,
  simulatedProcessor,
  testTime,
} from '../../fakes/simulated-hardware.js';

let processor: SecurityProcessor;
let report: SnpReport;
let certTable: Uint8Array;

async function reportOf(by: SecurityProcessor) {
  const guest = await launchTestGuest(by);
  return guest.report({ reportData: new Uint8Array(64), vmpl: 0 });
}

beforeAll(async () => {
  processor = await simulatedProcessor('Genoa');
  const extended = await reportOf(processor);
  report = parseReport(extended.report);
  certTable = extended.certTable;
});

const kinds = (needs: readonly { statement: VendorStatement; isCarried: boolean }[]) =>
  needs.map(({ statement, isCarried }) => `${statement.kind} ${isCarried ? 'carried' : 'missing'}`);

describe('what AMD publishes for a report (protocol.md s.2.2)', () => {
  test.each(['Genoa', 'Turin'] as const)(
    '%s: VCEK by hwID and REPORTED_TCB, chain, list',
    async (product: SnpProduct) => {
      const by = await simulatedProcessor(product);
      const needs = snpNeeds(parseReport((await reportOf(by)).report), noEndorsements);
      const { hwId } = by.chip;
      expect(hwId.length).toBe(product === 'Turin' ? 8 : 64);
      expect(needs.map(({ statement }) => statement)).toEqual([
        { kind: 'amd-vcek', product, hwId, tcb: productTcb[product] },
        { kind: 'amd-chain', product, signer: 'vcek' },
        { kind: 'amd-crl', product, signer: 'vcek' },
      ]);
      expect(needs.every(({ isCarried }) => !isCarried)).toBe(true);
    },
  );

  test('REPORTED_TCB, not CURRENT_TCB, names the certificate', async () => {
    const by = await simulatedProcessor('Genoa');
    const reportedTcb = { ...productTcb.Genoa, snp: 20 };
    by.configure({ reportedTcb });
    const [vcek] = snpNeeds(parseReport((await reportOf(by)).report), noEndorsements);
    expect(vcek?.statement).toMatchObject({ kind: 'amd-vcek', tcb: reportedTcb });
  });

  test('what came along counts; a certificate of another TCB does not', async () => {
    expect(kinds(snpNeeds(report, endorsementsOf(certTable)))).toEqual([
      'amd-vcek carried',
      'amd-chain carried',
      'amd-crl missing',
    ]);
    const list = processor.chip.authority.issueCrl(testTime);
    const withList = { ...endorsementsOf(certTable), crls: [list] };
    expect(kinds(snpNeeds(report, withList))[2]).toBe('amd-crl carried');
    const older = await processor.chip.vcek({ ...productTcb.Genoa, snp: 1 });
    expect(kinds(snpNeeds(report, endorsementsOf(older.certTable)))[0]).toBe('amd-vcek missing');
  });

  test('a VLEK is given to providers alone: only what is above it is published', async () => {
    const by = await simulatedProcessor('Genoa');
    by.configure({ cspId: 'example' });
    const extended = await reportOf(by);
    const needs = snpNeeds(parseReport(extended.report), endorsementsOf(extended.certTable));
    expect(needs.map(({ statement }) => statement)).toEqual([
      { kind: 'amd-chain', product: 'Genoa', signer: 'vlek' },
      { kind: 'amd-crl', product: 'Genoa', signer: 'vlek' },
    ]);
  });

  test('a report of version 2 names no product: its certificate does, or nothing is asked', async () => {
    const by = await simulatedProcessor('Genoa');
    by.configure({ reportVersion: 2 });
    const extended = await reportOf(by);
    const old = parseReport(extended.report);
    expect(snpNeeds(old, noEndorsements)).toEqual([]);
    const [vcek] = parseCertTable(extended.certTable).filter(({ kind }) => kind === 'VCEK');
    const only = endorsementsOf(encodeCertTable([vcek!]));
    expect(kinds(snpNeeds(old, only))).toEqual([
      'amd-vcek carried',
      'amd-chain missing',
      'amd-crl missing',
    ]);
  });

  test.each([
    ['an unknown processor', 0x188, 0x17],
    ['no signer', 0x48, 7 << 2],
  ])('%s: nothing is asked', (_what, offset, value) => {
    expect(snpNeeds(parseReport(patched(report.bytes, offset, value)), noEndorsements)).toEqual([]);
  });

  test('a hidden chip has no certificate that could be asked for', () => {
    const hidden = parseReport(patched(report.bytes, 0x1a0, ...new Uint8Array(64)));
    expect(kinds(snpNeeds(hidden, noEndorsements))).toEqual([
      'amd-chain missing',
      'amd-crl missing',
    ]);
  });

  test('a certificate endorses reports of its own chip and TCB', async () => {
    const leaf = async (by: SecurityProcessor, snp: number) => {
      const { certTable: table } = await by.chip.vcek({ ...productTcb.Genoa, snp });
      const [entry] = parseCertTable(table).filter(({ kind }) => kind === 'VCEK');
      return parseCertificate(entry!.data);
    };
    const { snp } = productTcb.Genoa;
    expect(endorses(await leaf(processor, snp), report)).toBe(true);
    expect(endorses(await leaf(processor, snp - 1), report)).toBe(false);
    expect(endorses(await leaf(await simulatedProcessor('Genoa'), snp), report)).toBe(false);
    const ask = parseCertificate(processor.chip.authority.askCertificate);
    expect(endorses(ask, report)).toBe(false);
  });
});
