import { beforeAll, describe, expect, it } from 'vitest';
import { azureCollection } from '#core/azure/evidence.js';
import { azureSnpScheme, azureTdxScheme } from '#core/azure/scheme.js';
import { concat, utf8 } from '#core/bytes.js';
import { type CmwCollection, encodeCmw } from '#core/rats/cmw.js';
import { type Endorsements, noEndorsements, type TrustAnchor } from '#core/rats/endorsements.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { snpCollection } from '#core/snp/evidence.js';
import { defaultRules as snpRules } from '#core/snp/rules.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { type TpmMaterial, tpmCollection } from '#core/tpm/evidence.js';
import { configPcr } from '#core/tpm/measurements.js';
import { defaultBootRules } from '#core/tpm/rules.js';
import { crypto } from '#crypto';
import { hclReport, runtimeData } from '../../fakes/azure.js';
import { digest, eventLog, pcrsAfter, soundBoot } from '../../fakes/event-log.js';
import { FakeIntel, now } from '../../fakes/intel.js';
import { launchTestGuest, simulatedProcessor, testTime } from '../../fakes/simulated-hardware.js';
import { FakeTpm } from '../../fakes/tpm.js';
import { refusalOf } from '../../refusal.js';

const boot = soundBoot();
const configDocument = utf8('config document');
const configDigest = crypto.hash('sha256', configDocument);
const reportData = crypto.hash('sha512', utf8('binding'));
const tpm = new FakeTpm('rsa');
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex').toUpperCase();

interface Machine {
  /** Hardware evidence over this report data. */
  readonly hardware: (reportData: Uint8Array) => Promise<CmwCollection>;
  readonly reportType: number;
  readonly endorsements: Endorsements;
  readonly anchors: readonly TrustAnchor[];
  readonly at: number;
}

let snp: Machine;
let tdx: Machine;
beforeAll(async () => {
  const processor = await simulatedProcessor();
  const guest = await launchTestGuest(processor);
  snp = {
    hardware: async (data) => {
      const { report, certTable } = await guest.report({ reportData: data, vmpl: 0 });
      return snpCollection(report, certTable);
    },
    reportType: 2,
    endorsements: noEndorsements,
    anchors: [processor.chip.authority.anchor],
    at: testTime,
  };
  const intel = await FakeIntel.create();
  tdx = {
    hardware: async (data) => tdxCollection(await intel.quote({ td: { reportData: data } })),
    reportType: 4,
    endorsements: await intel.endorsements(),
    anchors: [intel.anchor],
    at: now,
  };
});

interface Parts {
  readonly userData: Uint8Array;
  readonly extraData: Uint8Array;
  /** TPM that makes the quote. */
  readonly quotedBy: FakeTpm;
  readonly reportType: number;
  /** Runtime data that the hardware reports, where it is another than is sent. */
  readonly reported: Uint8Array;
  readonly tpm: Partial<TpmMaterial>;
}

async function evidence(machine: Machine, parts: Partial<Parts> = {}): Promise<CmwCollection> {
  const userData = parts.userData ?? reportData;
  const data = runtimeData(tpm, { 'user-data': hex(userData) });
  const reported = crypto.hash('sha256', parts.reported ?? data);
  const hardware = await machine.hardware(concat(reported, new Uint8Array(32)));
  const reportType = parts.reportType ?? machine.reportType;
  const hcl = hclReport({ hardware: new Uint8Array(), runtimeData: data, reportType });
  const pcrs = pcrsAfter(boot);
  pcrs.set(configPcr, digest('sha256', pcrs.get(configPcr)!, configDigest));
  const quotedBy = parts.quotedBy ?? tpm;
  const extraData = parts.extraData ?? crypto.hash('sha256', userData);
  const attest = quotedBy.attest(pcrs, { extraData });
  const quote = tpmCollection({
    attest,
    signature: quotedBy.sign(attest),
    pcrs,
    configExtensions: [configDigest],
    eventLog: eventLog(boot),
    ...parts.tpm,
  });
  return azureCollection(hardware, hcl, quote);
}

const verify = async (machine: Machine, collection: CmwCollection, document = configDocument) => {
  const request = { collection: encodeCmw(collection), configDocument: document, reportData };
  const { endorsements, anchors, at } = machine;
  return (await verifyEvidence(request, { schemes, endorsements, anchors, at })).claims;
};

describe('composite evidence of Azure is judged as one (protocol.md s.4, s.6.6)', () => {
  it('on SEV-SNP', async () => {
    const claims = await verify(snp, await evidence(snp));
    expect(claims).toMatchObject({ format: 'azure-snp', simulated: true, reportData });
    expect(claims.configBinding).toMatchObject({ field: 'PCR 15', digest: configDigest });
    expect(claims.chipId).toBeDefined();
    const signer = crypto.hash('sha256', tpm.akSpki);
    expect(claims.bootCounts).toEqual({ signer, resets: 5, restarts: 0 });
  });

  it('on TDX', async () => {
    const claims = await verify(tdx, await evidence(tdx));
    expect(claims).toMatchObject({ format: 'azure-tdx', simulated: true, reportData });
    expect(claims.instanceId).toEqual(crypto.hash('sha256', tpm.akSpki));
  });

  const short = crypto.hash('sha384', reportData);
  const rows: [string, () => Partial<Parts>, string][] = [
    ['extra data that is the user data itself', () => ({ extraData: reportData }), 'accepted'],
    ['extra data that is its SHA-384', () => ({ extraData: short }), 'accepted'],
    [
      'a quote of another TPM',
      () => ({ quotedBy: new FakeTpm('rsa') }),
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    ['a quote of another session', () => ({ extraData: new Uint8Array(32) }), 'BINDING_MISMATCH'],
    [
      'a report of another session',
      () => ({ userData: new Uint8Array(64).fill(1) }),
      'BINDING_MISMATCH',
    ],
    [
      'user data that nobody wrote',
      () => ({ userData: new Uint8Array(64), extraData: new Uint8Array(64) }),
      'BINDING_MISMATCH',
    ],
    [
      'runtime data that the hardware did not report',
      () => ({ reported: runtimeData(new FakeTpm('rsa')) }),
      'RUNTIME_DATA_MISMATCH',
    ],
    ['other PCR values', () => ({ tpm: { pcrs: pcrsAfter([]) } }), 'PCR_MISMATCH'],
    [
      'another config document in the PCR',
      () => ({ tpm: { configExtensions: [] } }),
      'EVENT_LOG_MISMATCH',
    ],
  ];
  it.each(rows)('%s', async (_, parts, code) => {
    for (const machine of [snp, tdx]) {
      expect(await refusalOf(verify(machine, await evidence(machine, parts())))).toBe(code);
    }
  });

  it('an HCL report of other hardware is refused', async () => {
    const collection = await evidence(snp, { reportType: 4 });
    expect(await refusalOf(verify(snp, collection))).toBe('RUNTIME_DATA_MISMATCH');
  });

  it('another config document is refused', async () => {
    const work = verify(snp, await evidence(snp), utf8('other'));
    expect(await refusalOf(work)).toBe('CONFIG_MISMATCH');
  });

  it('hardware under another root is refused first', async () => {
    const work = verify({ ...snp, anchors: [] }, await evidence(snp));
    expect(await refusalOf(work)).toBe('UNTRUSTED_ROOT');
  });

  it('parts of it alone are not such evidence', async () => {
    const whole = await evidence(snp);
    const without = (label: string) => new Map([...whole].filter(([key]) => key !== label));
    for (const label of ['snp', 'hcl', 'tpm']) {
      const code = await refusalOf(verify(snp, without(label)));
      expect(code, label).toBe('UNSUPPORTED_EVIDENCE');
    }
  });
});

describe('rules and levels of both halves', () => {
  it('each half is appraised by its own rules', async () => {
    const parsed = azureSnpScheme.parse(await evidence(snp));
    const claims = await azureSnpScheme.verify(parsed, noEndorsements, snp.anchors, snp.at);
    expect(azureSnpScheme.deny(claims)).toEqual([]);
    const pcrs = new Map([[4, claims.measurements.pcrs.get(4)!]]);
    const digestOf = claims.hardware.report.measurement;
    const measurements = [{ digest: digestOf, imageSvn: 0, name: 'paravisor' }];
    const sound = {
      hardware: { ...snpRules, measurements },
      boot: { ...defaultBootRules, references: [{ pcrs, imageSvn: 2, name: 'image' }] },
    };
    expect(azureSnpScheme.appraise(claims, sound)).toEqual([]);
    const bare = { hardware: snpRules, boot: defaultBootRules };
    expect(azureSnpScheme.appraise(claims, bare).map(({ check }) => check)).toEqual([
      'snp.measurement',
      'azure-snp.measurement',
    ]);
    const level = {
      hardware: { tcbMin: [], guestSvnMin: 1, imageSvnMin: 0, mitigationVector: 0n },
      boot: { imageSvnMin: 3, firmwareVersionMin: 0n },
    };
    expect(azureSnpScheme.lacks(claims, sound, level).map(({ check }) => check)).toEqual([
      'snp.level.guest-svn',
      'azure-snp.level.image-svn',
    ]);
  });

  it('levels of either half must not sink', () => {
    const level = (evaluationNumberMin: number, imageSvnMin: number) => ({
      hardware: { statuses: [], tcbDateMin: 0, evaluationNumberMin, imageSvnMin: 0 },
      boot: { imageSvnMin, firmwareVersionMin: 0n },
    });
    const { decreasing, relaxed } = azureTdxScheme.levelRules;
    expect(decreasing(level(1, 1), level(2, 2))).toBeUndefined();
    expect(decreasing(level(2, 2), level(1, 2))).toBe('hardware.evaluation_number_min');
    expect(decreasing(level(2, 2), level(2, 1))).toBe('boot.image_svn_min');
    expect(relaxed([level(1, 1)], [level(1, 2)])).toBeUndefined();
    expect(relaxed([level(2, 2)], [level(1, 2)])).toBe('hardware.evaluation_number_min');
    expect(relaxed([level(2, 2)], [level(2, 1)])).toBe('boot.image_svn_min');
  });
});
