import type { MessageInitShape } from '@bufbuild/protobuf';
import { azureCollection } from '#core/azure/evidence.js';
import { concat, toHex, utf8 } from '#core/bytes.js';
import { ccaCollection } from '#core/cca/evidence.js';
import type { CmwCollection } from '#core/rats/cmw.js';
import { snpCollection } from '#core/snp/evidence.js';
import { launchMeasurement } from '#core/snp/launch/measure.js';
import { svsmCollection } from '#core/svsm/evidence.js';
import { vtpmServiceGuid } from '#core/svsm/manifest.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { type TpmMaterial, tpmCollection } from '#core/tpm/evidence.js';
import { configPcr } from '#core/tpm/measurements.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import type { AppraisalPolicySchema, SvnLevelSchema } from '#gen/cvmp/v1/policy_pb.js';
import { AkTrust } from '#gen/cvmp/v1/tpm_rules_pb.js';
import type { NamedFile } from '#server/key-server/verifier/named-file.js';
import { SimulatedSvsm } from '#sim/svsm.js';
import { hclReport, runtimeData } from './azure.js';
import { FakeCca, implementationId, instanceId } from './cca.js';
import { caExtensions, commonName, extension, issueCertificate, spkiOf } from './certificates.js';
import { digest, eventLog, pcrsAfter, soundBoot } from './event-log.js';
import { FakeIntel, now, type TdContent } from './intel.js';
import type { OtherEvidence } from './raw-agent.js';
import {
  launchTestGuest,
  simulatedAuthority,
  simulatedProcessor,
  testGuestPolicy,
  testLaunchInputs,
} from './simulated-hardware.js';
import { FakeEk, FakeTpm, tpm2b, u32 } from './tpm.js';

// One machine of each evidence format, with what its owner gives the Key Server for it. All times
// are those of `now`.

type Appraisal = Omit<MessageInitShape<typeof AppraisalPolicySchema>, '$typeName'>;
type Level = Omit<MessageInitShape<typeof SvnLevelSchema>, '$typeName'>;

export { now as machineTime };

export interface Machine {
  readonly name: string;
  /** As `verifier` of the Key Server's configuration has them. */
  readonly files: {
    readonly roots?: readonly NamedFile[];
    readonly tpmMakers?: readonly NamedFile[];
    readonly held?: readonly NamedFile[];
  };
  /** Admits what the machine shows, and names its one level. */
  readonly policy: { readonly appraisal: Appraisal; readonly level: Level };
  /** A rule under which it is refused, and by which code. */
  readonly stricter: { readonly appraisal: Appraisal; readonly code: string };
  /** Evidence of a CVM that holds this config document. */
  evidence(configDocument: Uint8Array): OtherEvidence;
}

const mrTd = crypto.hash('sha384', utf8('firmware'));
const boot = soundBoot();
const uki = { pcrs: { 4: pcrsAfter(boot).get(4)!, 7: pcrsAfter(boot).get(7)! }, imageSvn: 1 };
const bootRules = { references: [uki], pcrs: [0, 4, 7, configPcr] };
const otherBoot = {
  references: [{ pcrs: { 4: new Uint8Array(32).fill(9) } }],
  allowNoSecureBoot: true,
};
const pemFile = (name: string, ...certificates: readonly Uint8Array[]): NamedFile => ({
  name,
  bytes: utf8(certificates.map((der) => toPem('CERTIFICATE', der)).join('')),
});

/** TDX by quote version; the collateral comes along, or is what the configuration holds. */
export async function tdxMachine(version: 4 | 5, carries: boolean): Promise<Machine> {
  const intel = await FakeIntel.create();
  const endorsements = await intel.endorsements();
  const { certificates, crls, documents = [] } = endorsements;
  const lists = crls.map((der) => toPem('X509 CRL', der)).join('');
  const held: NamedFile[] = [
    pemFile('signer', ...certificates),
    { name: 'crls', bytes: utf8(lists) },
    ...documents.map(({ value }, i) => ({ name: `document ${i}`, bytes: value })),
  ];
  const references = [{ mrTd, imageSvn: 1 }];
  return {
    name: `TDX, quote v${version}, collateral ${carries ? 'in the evidence' : 'held'}`,
    files: { roots: [pemFile('root', await intel.certificate('root'))], held: carries ? [] : held },
    policy: {
      appraisal: { allowSimulated: true, tdx: { references } },
      level: { tdx: { statuses: ['UpToDate'], evaluationNumberMin: 17, imageSvnMin: 1 } },
    },
    stricter: {
      appraisal: { allowSimulated: true, tdx: { references: [{ mrTd: new Uint8Array(48) }] } },
      code: 'POLICY_MEASUREMENT',
    },
    evidence: (configDocument) => ({
      profile: 'tdx',
      collection: async (reportData) =>
        tdxCollection(
          await intel.quote({ version, td: tdOf(configDocument, reportData) }),
          carries ? endorsements : undefined,
        ),
    }),
  };
}

function tdOf(configDocument: Uint8Array, reportData: Uint8Array): TdContent {
  return { reportData, mrConfigId: crypto.hash('sha384', configDocument) };
}

/** A quote with its log, by a TPM that measured the config document. */
function quoted(
  tpm: FakeTpm,
  configDocument: Uint8Array,
  reportData: Uint8Array,
  more: Partial<TpmMaterial> = {},
): CmwCollection {
  const configDigest = crypto.hash('sha256', configDocument);
  const pcrs = pcrsAfter(boot);
  pcrs.set(configPcr, digest('sha256', pcrs.get(configPcr)!, configDigest));
  const attest = tpm.attest(pcrs, { extraData: crypto.hash('sha256', reportData) });
  return tpmCollection({
    attest,
    signature: tpm.sign(attest),
    pcrs,
    configExtensions: [configDigest],
    eventLog: eventLog(boot),
    ...more,
  });
}

const tpmPolicy = {
  policy: (akTrust: AkTrust): Machine['policy'] => ({
    appraisal: { tpm: { boot: bootRules, akTrust: [akTrust] } },
    level: { tpm: { imageSvnMin: 1, firmwareVersionMin: 0x20240101n } },
  }),
  stricter: {
    appraisal: { tpm: { boot: otherBoot } },
    code: 'POLICY_MEASUREMENT',
  },
};

async function makerOf(subject: string, spki: Uint8Array) {
  const key = await crypto.generateEcKey('P-256');
  const issuer = commonName('maker of TPMs');
  const root = await issueCertificate(key, {
    issuer,
    subject: issuer,
    spki: spkiOf(key),
    extensions: caExtensions(),
  });
  const content = { issuer, subject: commonName(subject), spki, serial: Uint8Array.of(9) };
  return { root, content, key };
}

/** A vTPM whose AK has a certificate. */
export async function tpmMachine(): Promise<Machine> {
  const tpm = new FakeTpm();
  const { root, content, key } = await makerOf('AK', tpm.akSpki);
  const ak = await issueCertificate(key, content);
  return {
    name: 'TPM, AK by certificate',
    files: { tpmMakers: [pemFile('root', root)], held: [pemFile('root again', root)] },
    ...tpmPolicy,
    policy: tpmPolicy.policy(AkTrust.CERTIFICATE),
    evidence: (configDocument) => ({
      profile: 'tpm',
      collection: async (reportData) =>
        quoted(tpm, configDocument, reportData, { certificates: [ak] }),
    }),
  };
}

export interface EkMachine extends Machine {
  readonly ek: FakeEk;
  readonly tpm: FakeTpm;
}

/** A TPM whose AK has none: only its EK has, and a credential must be activated. */
export async function ekMachine(kind: FakeEk['kind'] = 'P-256'): Promise<EkMachine> {
  const tpm = new FakeTpm();
  const ek = new FakeEk(kind);
  const { root, content, key } = await makerOf('EK', ek.spki);
  // keyEncipherment for RSA, keyAgreement for EC (TCG EK Credential Profile s.3.2.15).
  const bits = Uint8Array.of(3, 2, 0, kind === 'rsa' ? 0x20 : 0x08);
  const usage = extension('2.5.29.15', bits, true);
  const certificate = await issueCertificate(key, { ...content, extensions: [usage] });
  return {
    name: `TPM, AK by EK on ${kind} and activated credential`,
    tpm,
    ek,
    files: { tpmMakers: [pemFile('root', root)] },
    ...tpmPolicy,
    policy: tpmPolicy.policy(AkTrust.ACTIVATED_CREDENTIAL),
    evidence: (configDocument) => ({
      profile: 'tpm',
      collection: async (reportData) =>
        quoted(tpm, configDocument, reportData, {
          akPublic: tpm.akPublic(),
          ekCertificates: [certificate, root],
        }),
      activate: (blob, secret) => ek.activate(tpm.akName(), blob, secret),
    }),
  };
}

/** Azure's composite around hardware evidence over any report data. */
function azureEvidence(
  profile: 'azure-snp' | 'azure-tdx',
  hardware: (reportData: Uint8Array) => Promise<CmwCollection>,
): Machine['evidence'] {
  const tpm = new FakeTpm('rsa');
  return (configDocument) => ({
    profile,
    async collection(reportData) {
      const data = runtimeData(tpm, { 'user-data': toHex(reportData).toUpperCase() });
      const reported = concat(crypto.hash('sha256', data), new Uint8Array(32));
      const hcl = hclReport({
        hardware: new Uint8Array(),
        runtimeData: data,
        reportType: profile === 'azure-snp' ? 2 : 4,
      });
      const quote = quoted(tpm, configDocument, reportData);
      return azureCollection(await hardware(reported), hcl, quote);
    },
  });
}

export async function azureSnpMachine(): Promise<Machine> {
  const processor = await simulatedProcessor('Genoa', () => now);
  const guest = await launchTestGuest(processor);
  const { arkCertificate } = await simulatedAuthority();
  const hardware = { measurements: [{ digest: guest.measurement }] };
  return {
    name: 'Azure on SEV-SNP',
    files: { roots: [{ name: 'ark', bytes: arkCertificate }] },
    policy: {
      appraisal: { allowSimulated: true, azureSnp: { hardware, boot: bootRules } },
      level: { azureSnp: { boot: { imageSvnMin: 1 } } },
    },
    stricter: {
      appraisal: { allowSimulated: true, azureSnp: { hardware, boot: otherBoot } },
      code: 'POLICY_MEASUREMENT',
    },
    evidence: azureEvidence('azure-snp', async (data) => {
      const { report, certTable } = await guest.report({ reportData: data, vmpl: 0 });
      return snpCollection(report, certTable);
    }),
  };
}

/** An SNP guest above an SVSM, whose manifest names the EK of its vTPM (0), or the AK too (1). */
export async function svsmMachine(
  manifestVersion: 0 | 1,
): Promise<Machine & { readonly tpm: FakeTpm }> {
  const processor = await simulatedProcessor('Genoa', () => now);
  const { arkCertificate } = await simulatedAuthority();
  const [tpm, ek] = [new FakeTpm(), new FakeEk('P-256')];
  const keys = concat(u32(1), u32(2), tpm2b(ek.publicArea()), tpm2b(tpm.akPublic()));
  const manifest = manifestVersion === 0 ? ek.publicArea() : keys;
  const services = [{ guid: vtpmServiceGuid, manifest }];
  const hardware = { measurements: [{ digest: launchMeasurement(testLaunchInputs) }] };
  const admitted = { hardware, services: [vtpmServiceGuid], boot: { ...bootRules, pcrs: [4, 7] } };
  return {
    name: `SVSM, manifest v${manifestVersion} of its vTPM`,
    tpm,
    files: { roots: [{ name: 'ark', bytes: arkCertificate }] },
    policy: {
      appraisal: { allowSimulated: true, svsm: admitted },
      level: { svsm: { boot: { imageSvnMin: 1 } } },
    },
    stricter: {
      appraisal: { allowSimulated: true, svsm: { ...admitted, boot: otherBoot } },
      code: 'POLICY_MEASUREMENT',
    },
    evidence: (configDocument) => ({
      profile: 'svsm',
      async collection(nonce) {
        const hostData = crypto.hash('sha256', configDocument);
        const launch = { inputs: testLaunchInputs, guestPolicy: testGuestPolicy, hostData };
        const svsm = new SimulatedSvsm(await processor.launch(launch), services);
        const made = await svsm.serviceReport({ nonce, guid: undefined, manifestVersion });
        const quote = quoted(tpm, configDocument, nonce, { akPublic: tpm.akPublic() });
        return svsmCollection(
          snpCollection(made.report, made.certTable),
          { nonce, ...made },
          quote,
        );
      },
      ...(manifestVersion === 0 && { activate: ek.activate.bind(ek, tpm.akName()) }),
    }),
  };
}

export async function azureTdxMachine(): Promise<Machine> {
  const intel = await FakeIntel.create();
  const endorsements = await intel.endorsements();
  const hardware = { references: [{ mrTd }] };
  return {
    name: 'Azure on TDX',
    files: { roots: [pemFile('root', await intel.certificate('root'))] },
    policy: {
      appraisal: { allowSimulated: true, azureTdx: { hardware, boot: bootRules } },
      level: { azureTdx: { hardware: { evaluationNumberMin: 17 } } },
    },
    stricter: {
      appraisal: {
        allowSimulated: true,
        azureTdx: { hardware: { ...hardware, requireSecureBoot: true }, boot: bootRules },
      },
      code: 'POLICY_SECURE_BOOT',
    },
    evidence: azureEvidence('azure-tdx', async (data) =>
      tdxCollection(await intel.quote({ td: { reportData: data } }), endorsements),
    ),
  };
}

/** A realm, on a platform whose key its owner wrote into a file. */
export async function ccaMachine(): Promise<Machine> {
  const cca = await FakeCca.create();
  const references = [{ initialMeasurement: crypto.hash('sha256', utf8('realm')), imageSvn: 1 }];
  const pem = toPem('PUBLIC KEY', spkiOf(cca.platformKey));
  const file = {
    implementation_id: toHex(implementationId),
    instance_id: toHex(instanceId),
    public_key: pem,
    endorser: 'fake maker',
    simulated: true,
  };
  return {
    name: 'Arm CCA',
    files: { held: [{ name: 'platform key', bytes: utf8(JSON.stringify(file)) }] },
    policy: {
      appraisal: { allowSimulated: true, cca: { references } },
      level: { cca: { imageSvnMin: 1 } },
    },
    stricter: {
      appraisal: {
        allowSimulated: true,
        cca: { references, implementations: [new Uint8Array(32)] },
      },
      code: 'POLICY_CHIP',
    },
    evidence: (configDocument) => ({
      profile: 'cca',
      collection: async (reportData) => {
        const realm = { 10: reportData, 44235: crypto.hash('sha512', configDocument) };
        return ccaCollection(await cca.token({ realm }));
      },
    }),
  };
}
