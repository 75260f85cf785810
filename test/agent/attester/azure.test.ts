import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AzureClaims } from '#core/azure/scheme.js';
import type { Claims } from '#core/rats/claims.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { crypto } from '#crypto';
import { eventLog, soundBoot } from '../../fakes/event-log.js';
import { FakeIntel, now as intelTime } from '../../fakes/intel.js';
import { type ImdsAnswers, Paravisor, serveImds, tdReport } from '../../fakes/paravisor.js';
import { launchTestGuest, simulatedProcessor, testTime } from '../../fakes/simulated-hardware.js';
import { Swtpm, swtpmMissing } from '../../fakes/swtpm.js';
import { refusalOf } from '../../refusal.js';
import { configDocument, openOn, reportData, type VerifierChange, verify } from './tpm-cvm.js';

const boot = soundBoot();
const withoutSwtpm = swtpmMissing === undefined ? '' : ` (skipped: ${swtpmMissing} is missing)`;
const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

/** A machine of Azure: its vTPM, who owns that, and what verifies it. */
interface Machine {
  readonly tpm: Swtpm;
  readonly paravisor: Paravisor;
  readonly imds: ImdsAnswers;
  readonly trust: VerifierChange;
}

async function open(
  { tpm, paravisor, imds }: Machine,
  answers = imds,
  sleep?: () => Promise<void>,
) {
  const service = await serveImds(answers);
  const refresh = sleep ?? (() => paravisor.refresh());
  const attester = await openOn(tpm, { imdsUrl: service.url }, configDocument, refresh);
  endings.push(
    () => service.close(),
    () => attester.close(),
  );
  return attester;
}

async function snpMachine(): Promise<Machine> {
  const processor = await simulatedProcessor();
  const guest = await launchTestGuest(processor);
  const report = async (data: Uint8Array) => guest.report({ reportData: data, vmpl: 0 });
  const tpm = await booted();
  const paravisor = await Paravisor.start(tpm, {
    reportType: 2,
    report: async (data) => (await report(data)).report,
  });
  const { certTable } = await report(new Uint8Array(64));
  const vcekChain = parseCertTable(certTable).map(({ data }) => data);
  const anchors = [processor.chip.authority.anchor];
  const endorsements = noEndorsements;
  return { tpm, paravisor, imds: { vcekChain }, trust: { anchors, endorsements, at: testTime } };
}

async function tdxMachine(): Promise<Machine> {
  const intel = await FakeIntel.create();
  const tpm = await booted();
  const paravisor = await Paravisor.start(tpm, { reportType: 4, report: async (d) => tdReport(d) });
  const trust = {
    anchors: [intel.anchor],
    endorsements: await intel.endorsements(),
    at: intelTime,
  };
  const quote = (data: Uint8Array) => intel.quote({ td: { reportData: data } });
  return { tpm, paravisor, imds: { quote }, trust };
}

async function booted(): Promise<Swtpm> {
  const tpm = await Swtpm.create();
  tpm.extend(boot);
  tpm.file('log', eventLog(boot));
  return tpm;
}

describe.skipIf(swtpmMissing !== undefined)(`a CVM of Azure${withoutSwtpm}`, () => {
  let snp: Machine;
  let tdx: Machine;
  beforeAll(async () => {
    snp = await snpMachine();
    tdx = await tdxMachine();
  }, 120_000);
  afterAll(async () => {
    await snp?.tpm.powerOff();
    await tdx?.tpm.powerOff();
  });

  test.each(['snp', 'tdx'] as const)(
    'on %s: report, runtime data and quote are of one session, and judged as one',
    async (kind) => {
      const machine = kind === 'snp' ? snp : tdx;
      const attester = await open(machine);
      expect(attester.profiles).toEqual([`azure-${kind}`]);
      for (const data of [reportData, crypto.randomBytes(64)]) {
        const evidence = await attester.evidence(data);
        const trust = { ...machine.trust, reportData: data };
        const { claims, scheme } = await verify(machine.tpm, evidence, undefined, trust);
        expect(scheme.format).toBe(`azure-${kind}`);
        expect(claims.reportData).toEqual(data);
        const { measurements } = claims as AzureClaims<Claims>;
        expect(measurements.secureBoot.state).toBe('enabled');
      }
    },
  );

  test('SEV-SNP without the metadata service: the verifier must know the chain itself', async () => {
    const attester = await open(snp, {});
    const evidence = await attester.evidence(reportData);
    expect(decodeCmw(evidence).has('snp-certs')).toBe(false);
    const certificates = snp.imds.vcekChain as readonly Uint8Array[];
    const trust = { ...snp.trust, endorsements: { ...noEndorsements, certificates } };
    expect(await refusalOf(verify(snp.tpm, evidence, undefined, trust))).toBe('accepted');
  });

  test.each<[string, ImdsAnswers]>([
    ['that answers 404', {}],
    ['that answers no JSON', { quote: '<html>' }],
    ['that answers no object', { quote: '3' }],
    ['that answers no quote', { quote: '{}' }],
    ['that answers a quote that is not base64url', { quote: '{"quote":"a+/="}' }],
    ['that answers 300 KiB', { quote: JSON.stringify({ quote: 'A'.repeat(300 << 10) }) }],
  ])('TDX with a metadata service %s is refused', async (_, answers) => {
    const attester = await open(tdx, answers);
    await expect(attester.evidence(reportData)).rejects.toMatchObject({
      code: 'TPM_UNAVAILABLE',
      field: 'tpm.imds_url',
    });
  });

  test('a paravisor that does not report what was written is not waited for for ever', async () => {
    let waits = 0;
    const attester = await open(snp, snp.imds, async () => void waits++);
    expect(await refusalOf(attester.evidence(crypto.randomBytes(64)))).toBe('TPM_UNAVAILABLE');
    expect(waits).toBeGreaterThan(10);
  });

  test('an AK that the report does not name, or a report that is none, is refused at the start', async () => {
    const tpm = await booted();
    endings.push(() => tpm.powerOff());
    await Paravisor.start(tpm, { reportType: 4, report: async (data) => tdReport(data) });
    const key = tpm.file('other.ctx');
    tpm.run('evictcontrol', '-Q', '-C', 'o', '-c', '0x81000003');
    tpm.run('createprimary', '-Q', '-C', 'o', '-G', 'rsa2048', '-c', key);
    tpm.run('evictcontrol', '-Q', '-C', 'o', '-c', key, '0x81000003');
    expect(await refusalOf(openOn(tpm))).toBe('TPM_UNAVAILABLE');
    tpm.nvStore(0x01400001, new Uint8Array(100));
    expect(await refusalOf(openOn(tpm))).toBe('TPM_UNAVAILABLE');
  });
});
