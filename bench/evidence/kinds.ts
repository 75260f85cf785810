import { azureCollection } from '#core/azure/evidence.js';
import { concat, toHex, utf8 } from '#core/bytes.js';
import { ccaCollection } from '#core/cca/evidence.js';
import type { EcPrivateKey, SignatureAlgorithm } from '#core/crypto.js';
import { eventType } from '#core/eventlog/event-types.js';
import { type CmwCollection, decodeCmw, encodeCmw } from '#core/rats/cmw.js';
import { type Endorsements, noEndorsements, type TrustAnchor } from '#core/rats/endorsements.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { snpCollection } from '#core/snp/evidence.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { activatedAkType, encodeActivatedKey } from '#core/tpm/ak/activation.js';
import { type TpmMaterial, tpmCollection } from '#core/tpm/evidence.js';
import { configPcr } from '#core/tpm/measurements.js';
import { crypto } from '#crypto';
import type { SecurityProcessor } from '#sim/security-processor.js';
import { hclReport, runtimeData } from '../../test/fakes/azure.js';
import { FakeCca } from '../../test/fakes/cca.js';
import {
  caExtensions,
  commonName,
  issueCertificate,
  spkiOf,
} from '../../test/fakes/certificates.js';
import {
  digest,
  eventLog,
  type FakeEvent,
  pcrsAfter,
  soundBoot,
} from '../../test/fakes/event-log.js';
import { FakeIntel, now as intelTime } from '../../test/fakes/intel.js';
import { type AkKind, FakeTpm } from '../../test/fakes/tpm.js';
import { launchGuest } from '../parties/hardware.js';

/** Signature checks that a verification cannot do without, by algorithm. */
export type Signatures = Readonly<Partial<Record<SignatureAlgorithm, number>>>;

/** Evidence of one kind, as a Verifier meets it again and again. */
export interface EvidenceKind {
  readonly name: string;
  /** What is checked anew each time; what was verified before is kept by its digest. */
  readonly signatures: Signatures;
  /** Cost at most, as a multiple of that of the bare checks. */
  readonly mark?: number;
  parse(): unknown;
  verify(): Promise<unknown>;
}

const events = 100;
const reportData = crypto.hash('sha512', utf8('binding'));
const configDocument = utf8('config document');
const configDigest = crypto.hash('sha256', configDocument);

interface Given {
  readonly name: string;
  readonly signatures: Signatures;
  readonly mark?: number;
  readonly collection: CmwCollection;
  readonly configDocument?: Uint8Array;
  readonly reportData?: Uint8Array;
  readonly endorsements?: Endorsements;
  readonly anchors?: readonly TrustAnchor[];
  readonly at: number;
}

function kind({ name, signatures, mark, collection, ...given }: Given): EvidenceKind {
  const bytes = encodeCmw(collection);
  const request = { collection: bytes, configDocument, reportData, ...given };
  const { endorsements = noEndorsements, anchors = [], at } = given;
  const inputs = { schemes, endorsements, anchors, at };
  return {
    name,
    signatures,
    ...(mark === undefined ? {} : { mark }),
    parse() {
      const decoded = decodeCmw(bytes);
      return schemes.find((scheme) => scheme.admits(decoded))?.parse(decoded);
    },
    verify: () => verifyEvidence(request, inputs),
  };
}

/** Evidence of every kind, of self-made hardware. */
export async function evidenceKinds(
  processor: SecurityProcessor,
): Promise<readonly EvidenceKind[]> {
  const intel = await FakeIntel.create();
  const collateral = await intel.endorsements();
  const guest = await launchGuest(processor, configDocument);
  const snpOf = async (data: Uint8Array) => {
    const { report, certTable } = await guest.report({ reportData: data, vmpl: 0 });
    return snpCollection(report, certTable);
  };
  const tdxOf = async (data: Uint8Array) => {
    const mrConfigId = crypto.hash('sha384', configDocument);
    return tdxCollection(await intel.quote({ td: { reportData: data, mrConfigId } }));
  };
  const snpTrust = { anchors: [processor.chip.authority.anchor], at: Date.now() };
  const tdxTrust = { anchors: [intel.anchor], endorsements: collateral, at: intelTime };
  return [
    kind({
      name: 'SNP, known chip',
      signatures: { ES384: 1 },
      mark: 1.3,
      collection: await snpOf(reportData),
      ...snpTrust,
    }),
    kind({
      name: 'TDX, known platform and collateral',
      signatures: { ES256: 2 },
      mark: 1.6,
      collection: await tdxOf(reportData),
      ...tdxTrust,
    }),
    await newlyCertifiedTpm(),
    activatedTpm('P-256', { ES256: 1 }),
    activatedTpm('rsa', { RS256: 1 }),
    kind({
      name: 'Azure on SNP, RSA AK, 100 events',
      signatures: { ES384: 1, RS256: 1 },
      collection: await azure(snpOf, 2),
      ...snpTrust,
    }),
    kind({
      name: 'Azure on TDX, RSA AK, 100 events',
      signatures: { ES256: 2, RS256: 1 },
      collection: await azure(tdxOf, 4),
      ...tdxTrust,
    }),
    await cca(),
  ];
}

/** A boot with Secure Boot whose log has so many events, most of them of drivers and a loader. */
function longBoot(): FakeEvent[] {
  const boot = soundBoot();
  const filler = Array.from(
    { length: events - boot.length },
    (_, i): FakeEvent => ({
      register: [0, 1, 2, 4, 5, 8, 9, 11][i % 8]!,
      type: eventType.ipl,
      data: utf8(`event ${i} `.repeat(12)),
    }),
  );
  return [...boot, ...filler];
}

function quoteOf(tpm: FakeTpm, extraData: Uint8Array): TpmMaterial {
  const boot = longBoot();
  const pcrs = pcrsAfter(boot);
  pcrs.set(configPcr, digest('sha256', pcrs.get(configPcr)!, configDigest));
  const attest = tpm.attest(pcrs, { extraData });
  return {
    attest,
    signature: tpm.sign(attest),
    pcrs,
    configExtensions: [configDigest],
    eventLog: eventLog(boot),
  };
}

const sharedExtraData = crypto.hash('sha256', reportData);

function activatedTpm(ak: AkKind, signatures: Signatures): EvidenceKind {
  const tpm = new FakeTpm(ak);
  const activated = {
    akName: tpm.akName(),
    ekDigest: crypto.hash('sha256', utf8('EK')),
    anchorName: 'cloud',
    simulated: true,
  };
  return kind({
    name: `TPM, activated ${ak === 'rsa' ? 'RSA-2048' : ak} AK, ${events} events`,
    signatures,
    collection: tpmCollection({ ...quoteOf(tpm, sharedExtraData), akPublic: tpm.akPublic() }),
    endorsements: {
      ...noEndorsements,
      documents: [{ mediaType: activatedAkType, value: encodeActivatedKey(activated) }],
    },
    at: intelTime,
  });
}

/** More than the Verifier remembers certificates, so that each one is new to it. */
const newChains = 400;

/** AKs whose certificates have an intermediate and a root above them, none seen before. */
async function newlyCertifiedTpm(): Promise<EvidenceKind> {
  const tpm = new FakeTpm();
  const [rootKey, caKey] = [
    await crypto.generateEcKey('P-256'),
    await crypto.generateEcKey('P-256'),
  ];
  const spkiDigest = crypto.hash('sha256', spkiOf(rootKey));
  const quote = quoteOf(tpm, sharedExtraData);
  const signatures = { ES256: 4 };
  const kinds: EvidenceKind[] = [];
  for (let i = 0; i < newChains; i++) {
    const certificates = await akChain(Uint8Array.of(1 + (i >> 8), i & 0xff), tpm, caKey, rootKey);
    kinds.push(
      kind({
        name: `TPM, P-256 AK with a chain not seen before, ${events} events`,
        signatures,
        mark: 2,
        collection: tpmCollection({ ...quote, certificates }),
        anchors: [{ format: 'tpm', name: 'cloud', spkiDigest }],
        at: intelTime,
      }),
    );
  }
  let next = 0;
  const turn = () => kinds[next++ % newChains]!;
  return { ...turn(), parse: () => turn().parse(), verify: () => turn().verify() };
}

async function akChain(
  serial: Uint8Array,
  tpm: FakeTpm,
  caKey: EcPrivateKey,
  rootKey: EcPrivateKey,
): Promise<Uint8Array[]> {
  const [root, ca, ak] = [commonName('EK/AK root'), commonName('EK/AK CA'), commonName('AK')];
  const [caSpki, rootSpki] = [spkiOf(caKey), spkiOf(rootKey)];
  const below = { serial, issuer: root };
  return [
    await issueCertificate(caKey, { serial, issuer: ca, subject: ak, spki: tpm.akSpki }),
    await issueCertificate(rootKey, {
      ...below,
      subject: ca,
      spki: caSpki,
      extensions: caExtensions(0),
    }),
    await issueCertificate(rootKey, {
      ...below,
      subject: root,
      spki: rootSpki,
      extensions: caExtensions(),
    }),
  ];
}

async function azure(
  hardwareOver: (data: Uint8Array) => Promise<CmwCollection>,
  reportType: number,
): Promise<CmwCollection> {
  const tpm = new FakeTpm('rsa');
  const data = runtimeData(tpm, { 'user-data': toHex(reportData).toUpperCase() });
  const hardware = await hardwareOver(concat(crypto.hash('sha256', data), new Uint8Array(32)));
  const hcl = hclReport({ hardware: new Uint8Array(), runtimeData: data, reportType });
  return azureCollection(hardware, hcl, tpmCollection(quoteOf(tpm, sharedExtraData)));
}

async function cca(): Promise<EvidenceKind> {
  const platform = await FakeCca.create();
  const realm = { 10: reportData, 44235: crypto.hash('sha512', configDocument) };
  return kind({
    name: 'Arm CCA, known platform',
    signatures: { ES384: 2 },
    collection: ccaCollection(await platform.token({ realm })),
    endorsements: platform.endorsements(),
    at: intelTime,
  });
}
