import { beforeAll, describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import type { ErrorCode } from '#core/errors.js';
import { type AppraisalPolicy, appraise } from '#core/rats/appraise.js';
import { type CmwCollection, encodeCmw } from '#core/rats/cmw.js';
import { noEndorsements, type TrustAnchor } from '#core/rats/endorsements.js';
import { type EvidenceRequest, type VerifiedEvidence, verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { snpCollection } from '#core/snp/evidence.js';
import { defaultRules, type SnpLevel, type SnpRules } from '#core/snp/rules.js';
import { crypto } from '#crypto';
import type { ExtendedReport, SimulatedGuest } from '#sim/guest.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import {
  endorsementsOf,
  flipped,
  launchTestGuest,
  simulatedProcessor,
  testConfigDocument,
  testTime,
} from '../../fakes/simulated-hardware.js';
import { refusalOf } from '../../refusal.js';

const reportData = new Uint8Array(64).fill(5);
const configDocument = testConfigDocument;

let processor: SecurityProcessor;
let guest: SimulatedGuest;
let good: ExtendedReport;
let anchors: readonly TrustAnchor[];
beforeAll(async () => {
  processor = await simulatedProcessor();
  guest = await launchTestGuest(processor);
  good = await guest.report({ reportData, vmpl: 0 });
  anchors = [processor.chip.authority.anchor];
});

const inputs = () => ({ schemes, endorsements: noEndorsements, anchors, at: testTime });
const collectionOf = ({ report, certTable }: ExtendedReport) =>
  encodeCmw(snpCollection(report, certTable));
const request = (change: Partial<EvidenceRequest> = {}): EvidenceRequest => ({
  collection: collectionOf(good),
  configDocument,
  reportData,
  ...change,
});

describe('verification of evidence in its fixed order (protocol.md s.6.8 steps 1 to 9)', () => {
  it('genuine evidence of this session is accepted', async () => {
    const collection = collectionOf(good);
    const verified = await verifyEvidence(request({ collection }), inputs());
    expect(verified.scheme.format).toBe('snp');
    expect(verified.claims.launchMeasurement).toEqual(guest.measurement);
    expect(verified.evidenceDigest).toEqual(crypto.hash('sha256', collection));
  });

  it('endorsements that the Verifier holds serve where the host supplies none', async () => {
    const bare = { report: good.report, certTable: new Uint8Array() };
    const asked = request({ collection: collectionOf(bare) });
    expect(await refusalOf(verifyEvidence(asked, inputs()))).toBe('CHAIN_INVALID');
    const endorsements = endorsementsOf(good.certTable);
    expect(await refusalOf(verifyEvidence(asked, { ...inputs(), endorsements }))).toBe('accepted');
  });

  it.each<[why: string, code: ErrorCode, change: () => Partial<EvidenceRequest>]>([
    ['a collection that is no CBOR', 'MALFORMED', () => ({ collection: utf8('hello') })],
    [
      'no evidence of a known format',
      'UNSUPPORTED_EVIDENCE',
      () => ({ collection: encodeCmw(new Map()) }),
    ],
    ['a report of another nonce', 'BINDING_MISMATCH', () => ({ reportData: new Uint8Array(64) })],
    [
      'report data that is a prefix',
      'BINDING_MISMATCH',
      () => ({ reportData: reportData.slice(0, 32) }),
    ],
    [
      'another config document',
      'CONFIG_MISMATCH',
      () => ({ configDocument: utf8('config documenT') }),
    ],
    [
      'a changed report',
      'EVIDENCE_SIGNATURE_INVALID',
      () => ({ collection: collectionOf({ ...good, report: flipped(good.report, 0x90) }) }),
    ],
    [
      'a report that is cut off',
      'MALFORMED',
      () => ({ collection: collectionOf({ ...good, report: good.report.slice(1) }) }),
    ],
  ])('%s: %s', async (_, code, change) => {
    expect(await refusalOf(verifyEvidence(request(change()), inputs()))).toBe(code);
  });

  it('a forged report is told before a wrong nonce, and that before a wrong config document', async () => {
    const wrong = { reportData: new Uint8Array(64), configDocument: utf8('other') };
    const forged = collectionOf({ ...good, report: flipped(good.report, 0x90) });
    const first = verifyEvidence(request({ ...wrong, collection: forged }), inputs());
    expect(await refusalOf(first)).toBe('EVIDENCE_SIGNATURE_INVALID');
    expect(await refusalOf(verifyEvidence(request(wrong), inputs()))).toBe('BINDING_MISMATCH');
  });

  it('no trust anchor admits nothing', async () => {
    const none = { ...inputs(), anchors: [] };
    expect(await refusalOf(verifyEvidence(request(), none))).toBe('UNTRUSTED_ROOT');
  });
});

describe('appraisal by a policy (protocol.md s.6.8 steps 10 to 12)', () => {
  let verified: VerifiedEvidence;
  beforeAll(async () => {
    verified = await verifyEvidence(request(), inputs());
  });

  const rules = (): SnpRules => ({
    ...defaultRules,
    measurements: [{ digest: guest.measurement, imageSvn: 2, name: 'image' }],
  });
  const level = (change: Partial<SnpLevel> = {}): SnpLevel => ({
    tcbMin: [],
    guestSvnMin: 0,
    imageSvnMin: 0,
    mitigationVector: 0n,
    ...change,
  });
  const policy = (
    levels: readonly (SnpLevel | undefined)[] = [level()],
    change: Partial<AppraisalPolicy> = {},
  ): AppraisalPolicy => ({
    allowSimulated: true,
    formats: new Map([['snp', rules()]]),
    levels: levels.map((rule, i) => ({
      n: i + 1,
      formats: new Map(rule === undefined ? [] : [['snp', rule]]),
    })),
    ...change,
  });
  const codes = (asked: AppraisalPolicy | undefined) =>
    appraise(verified, asked).failures.map(({ code }) => code);

  it('an admitted CVM is of the highest level whose rules hold, with those below', () => {
    const result = appraise(
      verified,
      policy([level(), level({ imageSvnMin: 2 }), level({ imageSvnMin: 3 }), level()]),
    );
    expect(result).toMatchObject({ accepted: true, simulated: true, level: 2, failures: [] });
    expect(result.nextLevel).toMatchObject({ n: 3, failures: [{ code: 'POLICY_MEASUREMENT' }] });
  });

  it('on the highest level nothing is missing', () => {
    expect(appraise(verified, policy()).nextLevel).toBeUndefined();
  });

  it('no policy releases nothing', () => {
    expect(codes(undefined)).toEqual(['NO_POLICY']);
    expect(appraise(verified, undefined).accepted).toBe(false);
  });

  it('simulated hardware is refused unless the policy says so', () => {
    expect(codes(policy([level()], { allowSimulated: false }))).toEqual(['POLICY_SIMULATED']);
  });

  it('a format without rules is not admitted', () => {
    expect(codes(policy([level()], { formats: new Map() }))).toEqual(['POLICY_REFUSED']);
    expect(codes(policy([level()], { formats: new Map([['tdx', {}]]) }))).toEqual([
      'POLICY_REFUSED',
    ]);
  });

  it('no level, or a first level without rules for the format, admits nothing', () => {
    expect(codes(policy([]))).toEqual(['POLICY_REFUSED']);
    expect(codes(policy([undefined, level()]))).toEqual(['POLICY_REFUSED']);
  });

  it('all failures are listed, those of the first level too', () => {
    const asked = policy([level({ guestSvnMin: 1, imageSvnMin: 9 })], {
      allowSimulated: false,
      formats: new Map([['snp', { ...rules(), vmpl: 2, products: ['Milan'] }]]),
    });
    expect(codes(asked)).toEqual([
      'POLICY_SIMULATED',
      'POLICY_VMPL',
      'POLICY_CHIP',
      'POLICY_GUEST',
      'POLICY_MEASUREMENT',
    ]);
    expect(appraise(verified, asked)).toMatchObject({ accepted: false, level: 0 });
  });

  it('the result can be computed again from what was stored', () => {
    expect(appraise(verified, policy())).toEqual(appraise(verified, policy()));
  });
});

describe('CMW collection (draft-ietf-rats-msg-wrap)', () => {
  const decoded = async (collection: Uint8Array) =>
    refusalOf(async () => (await import('#core/rats/cmw.js')).decodeCmw(collection));
  const record = (value: Uint8Array, indicator = 0) => ({ mediaType: 'a/b', value, indicator });

  it('what is encoded is decoded again', async () => {
    const { decodeCmw } = await import('#core/rats/cmw.js');
    const collection: CmwCollection = new Map([
      ['a', record(Uint8Array.of(1))],
      ['b', record(Uint8Array.of(2), 4)],
    ]);
    expect(decodeCmw(encodeCmw(collection))).toEqual(collection);
  });

  it('other shapes are refused', async () => {
    const { encode } = await import('#core/cbor/encode.js');
    const type = ['__cmwc_t', 'tag:example.org,2020:x'] as const;
    const bad = [
      encode([1, 2]),
      encode(new Map([type])),
      encode(new Map([[1, ['a/b', new Uint8Array()]]])),
      encode(new Map([['a', ['a/b']]])),
      encode(new Map([['a', [1, new Uint8Array()]]])),
      encode(new Map([['a', ['a/b', 'text']]])),
      encode(new Map([['a', new Map()]])),
    ];
    for (const bytes of bad) expect(await decoded(bytes)).toMatch(/^(MALFORMED|SIZE)$/);
    const many = new Map(Array.from({ length: 17 }, (_, i) => [`l${i}`, record(new Uint8Array())]));
    expect(await decoded(encodeCmw(many))).toBe('SIZE');
    expect(await decoded(encodeCmw(new Map([['a', record(new Uint8Array(), 16)]])))).toBe('SIZE');
  });
});
