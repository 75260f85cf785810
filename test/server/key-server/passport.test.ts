import { describe, expect, it } from 'vitest';
import { encodeCoseKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import type { Ear } from '#core/ear/ear.js';
import { earOfResult } from '#core/ear/from-result.js';
import { passportCollection, signProof } from '#core/ear/passport.js';
import { publicKeyOf, signCwt, signJwt } from '#core/ear/token.js';
import { appraise } from '#core/rats/appraise.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import { verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { snpCollection } from '#core/snp/evidence.js';
import { defaultRules } from '#core/snp/rules.js';
import { crypto } from '#crypto';
import { EarStatus } from '#gen/cvmp/v1/ear_rules_pb.js';
import { refusedWith } from '../../fakes/raw-agent.js';
import { type Launched, startKeyServer, type TestKeyServer } from './harness.js';
import { signedPolicy } from './state.js';

/** A verifier of somebody else, which knows CVMs of SEV-SNP and appraises them by a policy of its own. */
class ExternalVerifier {
  readonly key: EcPrivateKey;
  readonly #server: TestKeyServer;

  private constructor(key: EcPrivateKey, server: TestKeyServer) {
    this.key = key;
    this.#server = server;
  }

  static async create(server: TestKeyServer): Promise<ExternalVerifier> {
    return new ExternalVerifier(await crypto.generateEcKey('P-256'), server);
  }

  /** Verifies evidence over a Binding, and states what it found. */
  async appraise(launched: Launched, reportData: Uint8Array): Promise<Ear> {
    const { processor, place } = this.#server;
    const { report, certTable } = await launched.guest.report({ reportData, vmpl: 0 });
    const verified = await verifyEvidence(
      {
        collection: encodeCmw(snpCollection(report, certTable)),
        configDocument: launched.configDocument,
        reportData,
      },
      {
        schemes,
        endorsements: noEndorsements,
        anchors: [processor.chip.authority.anchor],
        at: place.now,
      },
    );
    const measurements = [{ digest: launched.guest.measurement, imageSvn: 3, name: 'image' }];
    const level = { tcbMin: [], guestSvnMin: 0, imageSvnMin: 3, mitigationVector: 0n };
    const result = appraise(verified, {
      allowSimulated: true,
      formats: new Map([['snp', { ...defaultRules, measurements }]]),
      levels: [1, 2].map((n) => ({ n, formats: new Map([['snp', level]]) })),
    });
    return earOfResult(result, {
      verifier: { developer: 'https://verifier.example', build: 'test' },
      policyId: 'https://verifier.example/policy/1',
      at: place.now,
      lifetimeSeconds: 60,
    });
  }
}

/** Policy "web" of acme, which admits results of this verifier at their level. */
async function admit(server: TestKeyServer, key: EcPrivateKey, change: object = {}) {
  const signed = await signedPolicy(server.tenantKey, {
    appraisal: {
      allowSimulated: true,
      ear: {
        verifiers: [
          {
            name: 'external',
            keys: [encodeCoseKey(publicKeyOf(key))],
            // Simulated hardware is never affirmed.
            status: EarStatus.WARNING,
            ...change,
          },
        ],
      },
    },
    levels: [1, 2, 3].map((n) => ({ n, ear: { levelMin: n } })),
  });
  await server.state.policies.set('acme', signed, { requestId: 'test' });
}

type MakeEar = (launched: Launched, reportData: Uint8Array) => Promise<Uint8Array>;

async function agentWith(server: TestKeyServer, launched: Launched, ear: MakeEar) {
  const collection = async (reportData: Uint8Array) =>
    passportCollection(await ear(launched, reportData));
  const { configDocument } = launched;
  return server.agent({ configDocument, evidence: { profile: 'ear', collection } });
}

describe('passport model in a session (RFC 9334 s.5.1, protocol.md s.1)', () => {
  it.each([
    ['JWT', signJwt],
    ['CWT', signCwt],
  ])(
    'a result over this session as %s gives the level that the verifier states',
    async (_, sign) => {
      const server = await startKeyServer();
      const verifier = await ExternalVerifier.create(server);
      await admit(server, verifier.key);
      const agent = await agentWith(server, await server.launch(), async (launched, reportData) =>
        sign(verifier.key, await verifier.appraise(launched, reportData)),
      );
      const { response } = await agent.attest();
      expect(response).toMatchObject({ case: 'grant', value: { level: 2, simulated: true } });
      expect(await agent.ask({ case: 'keyAlloc', value: {} })).toMatchObject({ case: 'keyAlloc' });
    },
  );

  it('a result with a confirmation key serves many sessions, each with a proof', async () => {
    const server = await startKeyServer();
    const verifier = await ExternalVerifier.create(server);
    const agentKey = await crypto.generateEcKey('P-384');
    await admit(server, verifier.key);
    const launched = await server.launch();
    const made = await verifier.appraise(launched, new Uint8Array(64).fill(3));
    const ear = await signJwt(verifier.key, { ...made, confirmationKey: publicKeyOf(agentKey) });
    const attest = async (key: EcPrivateKey) => {
      const collection = async (reportData: Uint8Array) =>
        passportCollection(ear, await signProof(key, reportData));
      const { configDocument } = launched;
      const agent = await server.agent({
        configDocument,
        evidence: { profile: 'ear', collection },
      });
      return agent.attest();
    };
    for (let session = 0; session < 2; session++) {
      expect((await attest(agentKey)).response.case).toBe('grant');
    }
    // Whoever stole the result does not have the key.
    const thief = await crypto.generateEcKey('P-384');
    expect(await refusedWith(attest(thief))).toBe('SIGNATURE_INVALID');
    server.place.now += 61_000;
    expect(await refusedWith(attest(agentKey))).toBe('RESULT_STALE');
  });

  it('a result of another session is refused', async () => {
    const server = await startKeyServer();
    const verifier = await ExternalVerifier.create(server);
    await admit(server, verifier.key);
    const agent = await agentWith(server, await server.launch(), async (launched) =>
      signJwt(verifier.key, await verifier.appraise(launched, new Uint8Array(64).fill(1))),
    );
    expect(await refusedWith(agent.attest())).toBe('BINDING_MISMATCH');
  });

  it('a CVM with another config document than its agent shows is refused', async () => {
    const server = await startKeyServer();
    const verifier = await ExternalVerifier.create(server);
    await admit(server, verifier.key);
    const launched = await server.launch();
    const decoy = server.configDocument({ cvmName: 'web-2' });
    const agent = await server.agent({
      configDocument: decoy,
      evidence: {
        profile: 'ear',
        collection: async (reportData) =>
          passportCollection(
            await signJwt(verifier.key, await verifier.appraise(launched, reportData)),
          ),
      },
    });
    expect(await refusedWith(agent.attest())).toBe('CONFIG_MISMATCH');
  });

  it('a stranger, an unknown tenant and a tenant without such a policy are answered alike', async () => {
    const server = await startKeyServer();
    const verifier = await ExternalVerifier.create(server);
    const stranger = await ExternalVerifier.create(server);
    const by = (one: ExternalVerifier) => async (launched: Launched, reportData: Uint8Array) =>
      signJwt(one.key, await one.appraise(launched, reportData));
    const attest = async (one: ExternalVerifier, launched: Launched) =>
      refusedWith((await agentWith(server, launched, by(one))).attest());
    expect(await attest(verifier, await server.launch())).toBe('VERIFIER_UNTRUSTED');
    await admit(server, verifier.key);
    expect(await attest(stranger, await server.launch())).toBe('VERIFIER_UNTRUSTED');
    const unknown = await server.launch({ tenantId: 'nobody' });
    expect(await attest(verifier, unknown)).toBe('VERIFIER_UNTRUSTED');
  });

  it('the rules of the policy for this verifier are asked', async () => {
    const server = await startKeyServer();
    const verifier = await ExternalVerifier.create(server);
    await admit(server, verifier.key, { status: EarStatus.AFFIRMING });
    const agent = await agentWith(server, await server.launch(), async (launched, reportData) =>
      signJwt(verifier.key, await verifier.appraise(launched, reportData)),
    );
    expect(await refusedWith(agent.attest())).toBe('POLICY_RESULT');
  });
});
