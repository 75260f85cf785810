import { beforeAll, describe, expect, test } from 'vitest';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import type { Ear } from '#core/ear/ear.js';
import { earOfFailure, earOfResult, vectorOf } from '#core/ear/from-result.js';
import { passportCollection, signProof, verifierKeyDocument } from '#core/ear/passport.js';
import type { AdmittedVerifier, EarLevel } from '#core/ear/rules.js';
import { publicKeyOf, signCwt, signJwt } from '#core/ear/token.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { type AppraisalPolicy, appraise } from '#core/rats/appraise.js';
import type { AttestationResult, FailedCheck } from '#core/rats/attestation-result.js';
import { type CmwCollection, encodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { crypto } from '#crypto';
import { testConfigDocument } from '../../fakes/simulated-hardware.js';
import { appraisal, ear, testAt } from './made.js';

const reportData = new Uint8Array(64).fill(5);
const configDigest = crypto.hash('sha256', testConfigDocument);
let verifierKey: EcPrivateKey;
let agentKey: EcPrivateKey;
let other: EcPrivateKey;
beforeAll(async () => {
  [verifierKey, agentKey, other] = await Promise.all([
    crypto.generateEcKey('P-256'),
    crypto.generateEcKey('P-256'),
    crypto.generateEcKey('P-384'),
  ]);
});

const cvmp = () => ({ ...appraisal().cvmp!, configDigest });
const sound = (change: Partial<Ear> = {}): Ear =>
  ear({ submods: new Map([['snp', appraisal({ cvmp: cvmp() })]]), ...change });

const verifier = (change: Partial<AdmittedVerifier> = {}): AdmittedVerifier => ({
  name: 'external',
  keys: [publicKeyOf(verifierKey)],
  developer: undefined,
  status: 'affirming',
  ageSecondsMax: 300,
  policyIds: [],
  formats: [],
  affirming: [],
  ...change,
});

async function verified(collection: CmwCollection, at = testAt) {
  const documents = [verifierKeyDocument(publicKeyOf(verifierKey))];
  return verifyEvidence(
    { collection: encodeCmw(collection), configDocument: testConfigDocument, reportData },
    { schemes, endorsements: { ...noEndorsements, documents }, anchors: [], at },
  );
}

async function outcome(
  collection: CmwCollection,
  rules: readonly AdmittedVerifier[] = [verifier()],
  levels: readonly EarLevel[] = [{ levelMin: 0 }],
  more: Partial<AppraisalPolicy> = {},
) {
  try {
    const result = appraise(await verified(collection), {
      allowSimulated: false,
      formats: new Map([['ear', { verifiers: rules }]]),
      levels: levels.map((level, i) => ({ n: i + 1, formats: new Map([['ear', level]]) })),
      ...more,
    });
    return result.accepted ? `level ${result.level}` : result.failures[0]!.check;
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return error.code;
  }
}

const shown = async (change: Partial<Ear> = {}, signer = verifierKey) =>
  passportCollection(await signCwt(signer, sound(change)));

describe('passport model (RFC 9334 s.5.1)', () => {
  test('a result over this session, by an admitted verifier, is accepted in either form', async () => {
    expect(await outcome(await shown())).toBe('level 1');
    expect(await outcome(passportCollection(await signJwt(verifierKey, sound())))).toBe('level 1');
  });

  test('a nonce of the whole result serves as well as that of its evidence', async () => {
    const bare = new Map([['snp', appraisal({ nonces: [], cvmp: cvmp() })]]);
    expect(await outcome(await shown({ submods: bare, nonces: [reportData] }))).toBe('level 1');
    const short = crypto.hash('sha256', reportData);
    expect(await outcome(await shown({ submods: bare, nonces: [short] }))).toBe('level 1');
    expect(await outcome(await shown({ submods: bare }))).toBe('BINDING_MISMATCH');
  });

  test('a stolen result is worthless in another session', async () => {
    const others = new Map([
      ['snp', appraisal({ nonces: [new Uint8Array(64).fill(6)], cvmp: cvmp() })],
    ]);
    expect(await outcome(await shown({ submods: others }))).toBe('BINDING_MISMATCH');
  });

  test('evidence of another session does not come along with evidence of this one', async () => {
    const withNonce = (nonce: Uint8Array) => appraisal({ nonces: [nonce], cvmp: cvmp() });
    const together = (nonce: Uint8Array) =>
      shown({
        submods: new Map([
          ['helper', appraisal({ nonces: [reportData], cvmp: undefined })],
          ['snp', withNonce(nonce)],
        ]),
      });
    expect(await outcome(await together(reportData))).toBe('level 1');
    expect(await outcome(await together(crypto.hash('sha256', reportData)))).toBe('level 1');
    expect(await outcome(await together(new Uint8Array(64).fill(6)))).toBe('BINDING_MISMATCH');
    expect(await outcome(await together(new Uint8Array(32).fill(6)))).toBe('BINDING_MISMATCH');
  });

  test('a result with a confirmation key needs a proof by it, over this session', async () => {
    const signed = await signCwt(
      verifierKey,
      sound({ confirmationKey: publicKeyOf(agentKey), nonces: [] }),
    );
    const shownBy = async (key: EcPrivateKey, data = reportData) =>
      outcome(passportCollection(signed, await signProof(key, data)));
    expect(await shownBy(agentKey)).toBe('level 1');
    expect(await shownBy(other)).toBe('SIGNATURE_INVALID');
    expect(await shownBy(agentKey, new Uint8Array(64))).toBe('BINDING_MISMATCH');
    expect(await outcome(passportCollection(signed))).toBe('BINDING_MISMATCH');
    const keyless = await signCwt(verifierKey, sound());
    const proof = await signProof(agentKey, reportData);
    expect(await outcome(passportCollection(keyless, proof))).toBe('BINDING_MISMATCH');
    const untyped = await sign1(agentKey, reportData);
    const collection = new Map(passportCollection(signed, proof));
    collection.set('ear-proof', { ...collection.get('ear-proof')!, value: untyped });
    expect(await outcome(collection)).toBe('MALFORMED');
  });

  test('only keys of the policy count, wherever the result came from', async () => {
    expect(await outcome(await shown({}, other))).toBe('VERIFIER_UNTRUSTED');
    const rules = [verifier({ keys: [publicKeyOf(other)] })];
    expect(await outcome(await shown(), rules)).toBe('ear.verifier');
    expect(await outcome(await shown(), [])).toBe('ear.verifier');
  });

  test('the config document is the one that the verifier found bound', async () => {
    const submods = (change: object) => new Map([['snp', appraisal(change)]]);
    const wrong = { ...cvmp(), configDigest: new Uint8Array(32) };
    expect(await outcome(await shown({ submods: submods({ cvmp: wrong }) }))).toBe(
      'CONFIG_MISMATCH',
    );
    expect(await outcome(await shown({ submods: submods({ cvmp: undefined }) }))).toBe(
      'CONFIG_MISMATCH',
    );
  });

  test('all submodules are of one config document', async () => {
    const other = { ...cvmp(), configDigest: new Uint8Array(32) };
    const submods = new Map([
      ['a', appraisal({ cvmp: cvmp() })],
      ['b', appraisal({ cvmp: other })],
    ]);
    expect(await outcome(await shown({ submods }))).toBe('CONFIG_MISMATCH');
  });

  test('a shorter nonce of another kind does not hide the Binding', async () => {
    expect(await outcome(await shown({ nonces: [new Uint8Array(32).fill(1)] }))).toBe('level 1');
  });

  test('a result beside evidence, or as another type, is refused', async () => {
    const both = new Map(await shown());
    both.set('x', { mediaType: 'a/b', value: new Uint8Array(1), indicator: 4 });
    expect(await outcome(both)).toBe('UNSUPPORTED_EVIDENCE');
    for (const change of [{ indicator: 4 }, { mediaType: 'application/eat+jwt' }]) {
      const [[label, record]] = [...(await shown())] as [[string, never]];
      const changed = new Map([[label, Object.assign({}, record, change)]]);
      expect(await outcome(changed)).toMatch(/UNSUPPORTED_EVIDENCE|MALFORMED/);
    }
  });

  const one = (change: object) => new Map([['snp', appraisal({ cvmp: cvmp(), ...change })]]);
  test.each<[string, Partial<AdmittedVerifier>, Partial<Ear>, string]>([
    ['its developer', { developer: 'https://verifier.example' }, {}, 'level 1'],
    ['another developer', { developer: 'x' }, {}, 'ear.developer'],
    ['its policy', { policyIds: ['a', 'https://policy.example/1'] }, {}, 'level 1'],
    ['another policy', { policyIds: ['a'] }, {}, 'ear.policy'],
    ['its format', { formats: ['snp'] }, {}, 'level 1'],
    ['another format', { formats: ['tdx'] }, {}, 'ear.format'],
    ['what it affirms', { affirming: ['hardware', 'executables'] }, {}, 'level 1'],
    ['what it does not affirm', { affirming: ['storage-opaque'] }, {}, 'ear.affirming'],
    ['an older result', { ageSecondsMax: 9 }, { issuedAt: testAt / 1000 - 10 }, 'ear.age'],
    ['a warning', {}, { status: 'warning', submods: one({ status: 'warning' }) }, 'ear.status'],
    [
      'a warning where it is admitted',
      { status: 'warning' },
      { status: 'warning', submods: one({ status: 'warning' }) },
      'level 1',
    ],
    [
      'no claim',
      { status: 'warning' },
      { status: 'none', submods: one({ status: 'none' }) },
      'ear.status',
    ],
    [
      'contraindicated',
      { status: 'warning' },
      { status: 'contraindicated', submods: one({ status: 'contraindicated' }) },
      'ear.contraindicated',
    ],
  ])('the policy asks: %s', async (_what, rules, change, expected) => {
    expect(await outcome(await shown(change), [verifier(rules)])).toBe(expected);
  });

  test('one key under several rules: any of them may admit the result', async () => {
    const rules = [verifier({ formats: ['tdx'] }), verifier({ formats: ['snp'] })];
    expect(await outcome(await shown(), rules)).toBe('level 1');
  });

  test('the level is what the verifier states, and no more than the policy knows', async () => {
    const levels = [{ levelMin: 1 }, { levelMin: 2 }, { levelMin: 3 }];
    expect(await outcome(await shown(), [verifier()], levels)).toBe('level 2');
    const none = one({ cvmp: { ...cvmp(), level: 0 } });
    expect(await outcome(await shown({ submods: none }), [verifier()], levels)).toBe('ear.level');
  });

  test('simulated hardware is admitted only by saying so', async () => {
    const submods = one({ cvmp: { ...cvmp(), simulated: true } });
    const collection = await shown({ submods });
    expect(await outcome(collection)).toBe('simulated');
    const allowed = await outcome(collection, [verifier()], [{ levelMin: 0 }], {
      allowSimulated: true,
    });
    expect(allowed).toBe('level 1');
  });
});

describe('the EAR of an appraisal (draft-ietf-rats-ar4si s.2.3.4)', () => {
  const result = (failures: readonly FailedCheck[], more: Partial<AttestationResult> = {}) =>
    ({
      format: 'snp',
      accepted: failures.length === 0,
      simulated: false,
      failures,
      level: 3,
      nextLevel: undefined,
      claims: {
        format: 'snp',
        simulated: false,
        reportData,
        configBinding: { field: 'HOST_DATA', hash: 'sha256', digest: configDigest },
        launchMeasurement: new Uint8Array(48),
        instanceId: undefined,
        chipId: undefined,
      },
      ...more,
    }) satisfies AttestationResult;
  const failed = (code: ErrorCode, check = 'snp.x'): FailedCheck => ({ code, check, message: '' });
  const frame = {
    verifier: { developer: 'd', build: 'b' },
    policyId: 'p',
    at: testAt,
    lifetimeSeconds: 60,
  };

  test('all affirmed: boot-time executables, genuine hardware, encrypted memory', () => {
    expect(vectorOf(result([]))).toEqual({
      'instance-identity': 2,
      configuration: 2,
      executables: 3,
      hardware: 2,
      'runtime-opaque': 2,
    });
    const made = earOfResult(result([]), frame);
    expect(made.status).toBe('affirming');
    expect(made.submods.get('snp')).toMatchObject({
      status: 'affirming',
      nonces: [reportData],
      policyIds: ['p'],
      cvmp: { level: 3, configDigest },
    });
  });

  test.each<[ErrorCode, string, string, number]>([
    ['POLICY_MEASUREMENT', 'snp.measurement', 'executables', 33],
    ['POLICY_DEBUG', 'snp.guest-policy.debug', 'runtime-opaque', 96],
    ['POLICY_GUEST', 'snp.guest-policy', 'configuration', 32],
    ['POLICY_MIGRATION', 'snp.migration-agent', 'configuration', 96],
    ['POLICY_CHIP', 'snp.chip-allow', 'instance-identity', 97],
    ['POLICY_CHIP', 'snp.chip-deny', 'instance-identity', 96],
    ['POLICY_CHIP', 'snp.product', 'hardware', 96],
    ['POLICY_TCB', 'snp.level.tcb', 'hardware', 32],
    ['POLICY_SIMULATED', 'simulated', 'hardware', 97],
  ])('%s of %s is %s %d, and the whole contraindicated', (code, check, category, value) => {
    const made = earOfResult(result([failed(code, check)]), frame);
    const one = made.submods.get('snp')!;
    expect(one.vector).toMatchObject({ [category]: value });
    expect([made.status, one.status, one.cvmp?.level]).toEqual([
      'contraindicated',
      'contraindicated',
      0,
    ]);
  });

  test('a platform with open advisories is genuine, with a warning', () => {
    const claims = { ...result([]).claims, tcb: { status: 'SWHardeningNeeded' } };
    const made = earOfResult(result([], { format: 'tdx', claims }), frame);
    expect(made.status).toBe('warning');
    expect(made.submods.get('tdx')?.vector?.hardware).toBe(32);
  });

  test('simulated hardware is never affirmed, nor its memory', () => {
    const vector = vectorOf(result([], { simulated: true }));
    expect(vector.hardware).toBe(32);
    expect(vector['runtime-opaque']).toBeUndefined();
  });

  test.each<[ErrorCode, number, string]>([
    ['EVIDENCE_SIGNATURE_INVALID', 99, 'contraindicated'],
    ['MALFORMED', 1, 'none'],
    ['COLLATERAL_STALE', 0, 'none'],
  ])('evidence refused with %s: every category is %d', (code, value, status) => {
    const made = earOfFailure(code, 'snp', frame);
    expect(made.status).toBe(status);
    expect(Object.values(made.submods.get('snp')!.vector!)).toEqual(Array(8).fill(value));
  });

  test('what an appraisal made is a passport for its own session', async () => {
    const made = earOfResult(result([]), frame);
    const collection = passportCollection(await signJwt(verifierKey, made));
    expect(await outcome(collection)).toBe('level 1');
  });
});
