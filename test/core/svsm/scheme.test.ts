import { beforeAll, describe, expect, it } from 'vitest';
import { concat, utf8 } from '#core/bytes.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import type { Activate } from '#core/rats/activation.js';
import { type CmwCollection, encodeCmw } from '#core/rats/cmw.js';
import {
  type EndorsementDocument,
  noEndorsements,
  type TrustAnchor,
} from '#core/rats/endorsements.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { snpCollection } from '#core/snp/evidence.js';
import { defaultRules as snpRules } from '#core/snp/rules.js';
import type { SvsmClaims } from '#core/svsm/claims.js';
import { type SvsmMaterial, svsmCollection } from '#core/svsm/evidence.js';
import { type SvsmService, vtpmServiceGuid } from '#core/svsm/manifest.js';
import type { SvsmLevel, SvsmRules } from '#core/svsm/rules.js';
import { svsmScheme } from '#core/svsm/scheme.js';
import { activatedAkType, encodeActivatedKey } from '#core/tpm/ak/activation.js';
import { type TpmMaterial, tpmCollection } from '#core/tpm/evidence.js';
import { defaultBootRules } from '#core/tpm/rules.js';
import { crypto } from '#crypto';
import type { SimulatedGuest } from '#sim/guest.js';
import { SimulatedSvsm } from '#sim/svsm.js';
import { eventLog, pcrsAfter, soundBoot } from '../../fakes/event-log.js';
import {
  launchTestGuest,
  simulatedProcessor,
  testConfigDocument,
  testTime,
} from '../../fakes/simulated-hardware.js';
import { FakeEk, FakeTpm, tpm2b, u32 } from '../../fakes/tpm.js';
import { refusalOf } from '../../refusal.js';

const boot = soundBoot();
const pcrs = pcrsAfter(boot);
const reportData = crypto.hash('sha512', utf8('binding'));
const ek = new FakeEk('rsa');
const ak = new FakeTpm('P-256');
const stranger = new FakeTpm('P-256');
/** fixedTPM, sensitiveDataOrigin, userWithAuth, sign: but not restricted. */
const unrestricted = 0x00040072;
const rebootGuid = '0123abcd-4567-89ef-0123-456789abcdef';

/** EK alone; EK and AK. */
const manifest0 = ek.publicArea();
const manifest1 = (akPublic = ak.akPublic()) =>
  concat(u32(1), u32(2), tpm2b(ek.publicArea()), tpm2b(akPublic));
const vtpm = (manifest: Uint8Array): SvsmService => ({ guid: vtpmServiceGuid, manifest });

let guest: SimulatedGuest;
let anchors: readonly TrustAnchor[];
beforeAll(async () => {
  const processor = await simulatedProcessor();
  guest = await launchTestGuest(processor);
  anchors = [processor.chip.authority.anchor];
});

interface Parts {
  readonly services: readonly SvsmService[];
  /** Ask for one service only. */
  readonly service: string;
  readonly nonce: Uint8Array;
  /** What is sent in the place of what the SVSM gave. */
  readonly svsm: Partial<SvsmMaterial>;
  readonly vmpl: number;
  readonly quote: false | Partial<TpmMaterial>;
  readonly quotedBy: FakeTpm;
  readonly extraData: Uint8Array;
}

async function evidence(parts: Partial<Parts> = {}): Promise<CmwCollection> {
  const { nonce = reportData, service, services = [vtpm(manifest1())] } = parts;
  const svsm = new SimulatedSvsm(guest, services);
  const made = await svsm.serviceReport({ nonce, guid: service, manifestVersion: 1 });
  const { manifest, certTable } = made;
  const report =
    parts.vmpl === undefined
      ? made.report
      : // The guest itself, over the same digest.
        (
          await guest.report({
            reportData: crypto.hash('sha512', nonce, manifest),
            vmpl: parts.vmpl,
          })
        ).report;
  const named = service === undefined ? {} : { service };
  return svsmCollection(
    snpCollection(report, certTable),
    { nonce, manifest, ...named, ...parts.svsm },
    parts.quote === false ? new Map() : quote(parts),
  );
}

function quote(parts: Partial<Parts>): CmwCollection {
  const quotedBy = parts.quotedBy ?? ak;
  const extraData = parts.extraData ?? crypto.hash('sha256', parts.nonce ?? reportData);
  const attest = quotedBy.attest(pcrs, { extraData });
  return tpmCollection({
    attest,
    signature: quotedBy.sign(attest),
    pcrs,
    akPublic: quotedBy.akPublic(),
    configExtensions: [],
    eventLog: eventLog(boot),
    ...(parts.quote || {}),
  });
}

async function verify(
  collection: CmwCollection,
  documents: readonly EndorsementDocument[] = [],
  activate?: Activate,
): Promise<SvsmClaims> {
  const request = {
    collection: encodeCmw(collection),
    configDocument: testConfigDocument,
    reportData,
  };
  const endorsements = { ...noEndorsements, documents };
  const inputs = { schemes, endorsements, anchors, at: testTime, ...(activate && { activate }) };
  return (await verifyEvidence(request, inputs)).claims as SvsmClaims;
}

const activated = (ekSpki = ek.spki, akName = ak.akName()): EndorsementDocument => ({
  mediaType: activatedAkType,
  value: encodeActivatedKey({
    akName,
    ekDigest: crypto.hash('sha256', ekSpki),
    anchorName: 'any',
    simulated: false,
  }),
});

describe('evidence by an SVSM (SVSM specification s.7, protocol.md s.4 AK trust d)', () => {
  it('a manifest that names the AK vouches for it', async () => {
    const claims = await verify(await evidence());
    expect(claims).toMatchObject({
      format: 'svsm',
      simulated: true,
      reportData,
      configBinding: { field: 'HOST_DATA' },
      launchMeasurement: guest.measurement,
      services: [vtpmServiceGuid],
      bootCounts: { resets: 5, restarts: 0 },
      vtpm: { akTrust: 'svsm-manifest', akDigest: crypto.hash('sha256', ak.akSpki) },
    });
    expect(claims.vtpm?.measurements.secureBoot.state).toBe('enabled');
  });

  it('a manifest that names the EK vouches for the AK that its TPM activated', async () => {
    const collection = await evidence({ services: [vtpm(manifest0)] });
    const claims = await verify(collection, [activated()]);
    expect(claims.vtpm?.akTrust).toBe('svsm-activated-credential');
  });

  it.each(['rsa', 'P-256', 'P-384'] as const)(
    'a credential for the %s EK of the manifest is opened by its vTPM, and by no other',
    async (kind) => {
      const own = new FakeEk(kind);
      const collection = await evidence({ services: [vtpm(own.publicArea())] });
      const openedBy = (tpm: FakeEk) =>
        verify(collection, [], async ({ seal }) => {
          const secret = new Uint8Array(32).fill(9);
          const { credentialBlob, encryptedSecret } = await seal(secret.slice());
          const opened = await tpm.activate(ak.akName(), credentialBlob, encryptedSecret);
          if (opened === undefined) throw new CvmpError('AK_UNTRUSTED', 'not opened');
          expect(opened).toEqual(secret);
        });
      expect((await openedBy(own)).vtpm?.akTrust).toBe('svsm-activated-credential');
      if (kind === 'P-256') {
        expect(await refusalOf(openedBy(new FakeEk(kind)))).toBe('AK_UNTRUSTED');
      }
    },
  );

  it('an AK that the manifest names needs no credential', async () => {
    const never = async () => {
      throw new TypeError('no credential is needed');
    };
    expect((await verify(await evidence(), [], never)).vtpm).toBeDefined();
    expect((await verify(await evidence({ quote: false }), [], never)).vtpm).toBeUndefined();
  });

  it.each([vtpmServiceGuid])('a report over one service, %s', async (service) => {
    const claims = await verify(await evidence({ service }));
    expect(claims.services).toEqual([vtpmServiceGuid]);
  });

  it('without a quote it proves the SVSM, its services and the guest that asked', async () => {
    const services = [vtpm(manifest0), { guid: rebootGuid, manifest: new Uint8Array() }];
    const claims = await verify(await evidence({ services, quote: false }));
    expect(claims).toMatchObject({ services: [vtpmServiceGuid, rebootGuid], vtpm: undefined });
  });

  it('a quote may be over the SHA-384, or all, of the nonce', async () => {
    for (const extraData of [crypto.hash('sha384', reportData), reportData]) {
      expect((await verify(await evidence({ extraData }))).vtpm).toBeDefined();
    }
  });
});

describe('what does not hold together is refused', () => {
  const zeros = new Uint8Array(64);
  type Row = [why: string, ErrorCode, () => Partial<Parts>, EndorsementDocument[]?];
  it.each<Row>([
    [
      'another nonce than was reported',
      'RUNTIME_DATA_MISMATCH',
      () => ({ svsm: { nonce: zeros } }),
    ],
    ['the nonce of another session', 'BINDING_MISMATCH', () => ({ nonce: zeros })],
    [
      'another manifest than was reported',
      'RUNTIME_DATA_MISMATCH',
      () => ({ service: vtpmServiceGuid, svsm: { manifest: manifest1(stranger.akPublic()) } }),
    ],
    ['a report that the guest asked for at VMPL 2', 'POLICY_VMPL', () => ({ vmpl: 2 })],
    ['a report of the host', 'POLICY_VMPL', () => ({ vmpl: 0xffff_ffff })],
    ['a quote of another TPM', 'AK_UNTRUSTED', () => ({ quotedBy: stranger })],
    [
      'a quote of another TPM that names the right AK',
      'EVIDENCE_SIGNATURE_INVALID',
      () => ({ quotedBy: stranger, quote: { akPublic: ak.akPublic() } }),
    ],
    [
      'an AK that signs anything',
      'AK_UNTRUSTED',
      () => ({
        services: [vtpm(manifest1(ak.akPublic(unrestricted)))],
        quote: { akPublic: ak.akPublic(unrestricted) },
      }),
    ],
    ['an EK and no activation', 'AK_UNTRUSTED', () => ({ services: [vtpm(manifest0)] })],
    [
      'activation by another EK',
      'AK_UNTRUSTED',
      () => ({ services: [vtpm(manifest0)] }),
      [activated(new FakeEk('P-256').spki)],
    ],
    [
      'activation of another AK',
      'AK_UNTRUSTED',
      () => ({ services: [vtpm(manifest0)] }),
      [activated(ek.spki, stranger.akName())],
    ],
    ['an SVSM without vTPM', 'AK_UNTRUSTED', () => ({ services: [] })],
    [
      'a quote over another session',
      'BINDING_MISMATCH',
      () => ({ extraData: crypto.hash('sha256', zeros) }),
    ],
    [
      'PCRs that were not quoted',
      'PCR_MISMATCH',
      () => ({ quote: { pcrs: new Map([[0, zeros.subarray(32)]]) } }),
    ],
    [
      'a manifest of one service without its name',
      'MALFORMED',
      () => ({ svsm: { manifest: manifest1() } }),
    ],
    [
      'a manifest of all services under the name of one',
      'MALFORMED',
      () => ({ svsm: { service: vtpmServiceGuid } }),
    ],
    [
      'a vTPM manifest that is none',
      'UNSUPPORTED_VERSION',
      () => ({ services: [vtpm(zeros.subarray(60))] }),
    ],
  ])('%s: %s', async (_, code, parts, documents) => {
    const collection = await evidence(parts());
    expect(await refusalOf(verify(collection, documents))).toBe(code);
  });

  it('another config document', async () => {
    const request = { collection: encodeCmw(await evidence()), reportData };
    const inputs = { schemes, endorsements: noEndorsements, anchors, at: testTime };
    const run = verifyEvidence({ ...request, configDocument: utf8('other') }, inputs);
    expect(await refusalOf(run)).toBe('CONFIG_MISMATCH');
  });

  it('an event log without a quote', async () => {
    const collection = new Map(await evidence());
    collection.delete('tpm');
    expect(await refusalOf(verify(collection))).toBe('UNSUPPORTED_EVIDENCE');
  });

  it('a plain report of VMPL 0 is no evidence by the SVSM, and the reverse', async () => {
    const collection = new Map(await evidence({ quote: false }));
    collection.delete('svsm');
    expect(await refusalOf(verify(collection))).toBe('BINDING_MISMATCH');
  });
});

describe('rules for evidence by an SVSM', () => {
  let claims: SvsmClaims;
  let bare: SvsmClaims;
  beforeAll(async () => {
    claims = await verify(await evidence());
    bare = await verify(await evidence({ quote: false }));
  });

  const measurements = () => [{ digest: guest.measurement, imageSvn: 2, name: 'svsm' }];
  const bootRules = {
    ...defaultBootRules,
    pcrs: [0, 4, 7],
    unexplained: [...pcrs.keys()],
    references: [{ pcrs: new Map([[4, pcrs.get(4)!]]), imageSvn: 3, name: 'image' }],
  };
  const rules = (change: Partial<SvsmRules> = {}): SvsmRules => ({
    hardware: { ...snpRules, measurements: measurements() },
    services: [],
    boot: undefined,
    ...change,
  });
  const checks = (asked: SvsmRules, found = claims) =>
    svsmScheme.appraise(found, asked).map(({ check, code }) => `${check} ${code}`);

  it('each half must hold, and failures of both are listed', () => {
    expect(checks(rules())).toEqual([]);
    expect(checks(rules({ boot: bootRules }))).toEqual([]);
    expect(checks(rules({ hardware: snpRules, boot: { ...bootRules, references: [] } }))).toEqual([
      'snp.measurement POLICY_MEASUREMENT',
      'svsm.measurement POLICY_MEASUREMENT',
    ]);
  });

  it('a service that is not admitted is refused', () => {
    expect(checks(rules({ services: [vtpmServiceGuid, rebootGuid] }))).toEqual([]);
    expect(checks(rules({ services: [rebootGuid] }))).toEqual(['svsm.services POLICY_GUEST']);
  });

  it('rules for the boot ask for a quote', () => {
    expect(checks(rules({ boot: bootRules }), bare)).toEqual(['svsm.quote POLICY_MEASUREMENT']);
    expect(checks(rules(), bare)).toEqual([]);
  });

  const hardware = {
    tcbMin: [],
    guestSvnMin: 0,
    imageSvnMin: 0,
    mitigationVector: 0n,
  };
  const level = (boot: SvsmLevel['boot'], imageSvnMin = 0): SvsmLevel => ({
    hardware: { ...hardware, imageSvnMin },
    boot,
  });
  const bootLevel = (imageSvnMin: number) => ({ imageSvnMin, firmwareVersionMin: 0n });

  it.each<[string, string[], SvsmLevel, SvsmRules['boot'], () => SvsmClaims]>([
    ['both reached', [], level(bootLevel(3), 2), bootRules, () => claims],
    ['an older SVSM', ['snp.level.image-svn'], level(bootLevel(3), 3), bootRules, () => claims],
    ['an older boot', ['svsm.level.image-svn'], level(bootLevel(4), 2), bootRules, () => claims],
    ['no quote', ['svsm.quote'], level(bootLevel(0)), bootRules, () => bare],
    ['no quote asked', [], level(undefined), undefined, () => bare],
    ['no boot admitted', ['svsm.level.image-svn'], level(bootLevel(1)), undefined, () => claims],
  ])('level: %s', (_, failed, asked, boot, found) => {
    const lacks = svsmScheme.lacks(found(), rules({ boot }), asked);
    expect(lacks.map(({ check }) => check)).toEqual(failed);
  });

  it('levels may not sink, nor be relaxed, in either half', () => {
    const { levelRules } = svsmScheme;
    const [low, high] = [level(bootLevel(1), 1), level(bootLevel(2), 2)];
    expect(levelRules.decreasing(low, high)).toBeUndefined();
    expect(levelRules.decreasing(high, { ...low, hardware })).toBe('boot.image_svn_min');
    expect(levelRules.decreasing(high, low)).toBe('hardware.image_svn_min');
    expect(levelRules.relaxed([high], [level(undefined, 2)])).toBe('boot.image_svn_min');
    expect(levelRules.relaxed([high], [low])).toBe('hardware.image_svn_min');
    expect(levelRules.relaxed([low], [high])).toBeUndefined();
  });
});
