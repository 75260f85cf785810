import { describe, expect, test } from 'vitest';
import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import { openSign1 } from '#core/cose/sign1.js';
import { keyCheckValue } from '#core/keying/derivation.js';
import { reportFields } from '#core/snp/layout.js';
import { crypto } from '#crypto';
import type { ServerMessage } from '#gen/cvmp/v1/key_pb.js';
import { makeSigner } from '../../fakes/callers.js';
import { type RawAgent, refusedWith } from '../../fakes/raw-agent.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { levels, type nextPolicy, signedPolicy } from './state.js';

type Response = ServerMessage['response'];

function value<C extends Response['case']>(response: Response, kind: C) {
  if (response.case !== kind) throw new Error(JSON.stringify(response, bigintText));
  return response.value as Extract<Response, { case: C }>['value'];
}

const bigintText = (_key: string, item: unknown) => (typeof item === 'bigint' ? `${item}` : item);

const alloc = { case: 'keyAlloc' as const, value: {} };
const acquire = (keyId: Uint8Array, svn = 0) =>
  ({ case: 'keyAcquire', value: { keyId, svn } }) as const;

async function attested(s: TestKeyServer, launched = s.launch()): Promise<RawAgent> {
  const agent = await s.agent(await launched);
  await agent.attest();
  return agent;
}

async function attestRefusals(s: TestKeyServer, tenantId = 'acme') {
  const page = { pageSize: 100, pageToken: '' };
  const { items } = await s.state.audit.list(tenantId, page, { refusedOnly: true });
  return items.filter((entry) => entry.operation === 'attest');
}

describe('a session over TLS with the simulated processor (draft-01 s.3.3, Figures 4 to 6)', () => {
  test('attest, allocate, confirm, acquire again in another session, update', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const launched = s.launch();
    const agent = await s.agent(await launched);
    const grant = value((await agent.attest()).response, 'grant');
    expect(grant).toMatchObject({ level: 4, simulated: true, inFlightMax: 4 });
    const tenantKey = ecPublicKey(s.tenantKey.curve, s.tenantKey.publicPoint);
    await openSign1(grant.signedPolicy, tenantKey);

    const made = value(await agent.ask(alloc), 'keyAlloc');
    expect(made.securityKey.length).toBe(32);
    expect(made).toMatchObject({ svn: 1, svnFloor: 1, epoch: 1 });
    expect(made.kcv).toEqual(keyCheckValue(made.securityKey));
    const { keyId, kcv } = made;
    const confirm = { case: 'keyConfirm', value: { keyId, svn: 1, kcv } } as const;
    value(await agent.ask(confirm), 'keyConfirm');

    const later = await attested(s, launched);
    const again = value(await later.ask(acquire(keyId)), 'keyAcquire');
    expect(again.securityKey).toEqual(made.securityKey);
    expect(again.rekeyAdvised).toBe(true);
    const update = { case: 'keyUpdate', value: { keyId, targetSvn: 3 } } as const;
    const raised = value(await later.ask(update), 'keyUpdate');
    expect(raised).toMatchObject({ oldFloor: 1, newFloor: 3, changed: true });
    const newer = value(await later.ask(acquire(keyId)), 'keyAcquire');
    expect(newer.svn).toBe(3);
    expect(newer.securityKey).not.toEqual(made.securityKey);
  });

  test('suite P-384 works as well', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch(), { suites: [1, 2] });
    await agent.attest();
    value(await agent.ask(alloc), 'keyAlloc');
  });

  test('a repeated request id gives the same key, with other content it is refused', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await attested(s);
    const id = crypto.randomBytes(16);
    const first = value(await agent.ask(alloc, id), 'keyAlloc');
    const second = value(await agent.ask(alloc, id), 'keyAlloc');
    expect(second.keyId).toEqual(first.keyId);
    const other = await agent.ask({ case: 'keyAlloc', value: { length: 64 } }, id);
    expect(value(other, 'error').code).toBe('IDEMPOTENCY_MISMATCH');
  });

  test('an agent with an outdated SVN is refused its key, and told so', async () => {
    const s = await startKeyServer();
    await s.setPolicy({ levels: levels(9), svnFloor: 2 });
    const { snp } = s.processor.settings.tcb;
    const launched = s.launch();
    const agent = await attested(s, launched);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    s.processor.configure({ tcb: { ...s.processor.settings.tcb, snp: 1 } });
    const old = await s.agent(await s.launch());
    const grant = value((await old.attest()).response, 'grant');
    expect(grant.level).toBe(1);
    expect(value(await old.ask(acquire(keyId)), 'error').code).toBe('SVN_BELOW_FLOOR');
    expect(value(await old.ask(alloc), 'error').code).toBe('SVN_BELOW_FLOOR');
    s.processor.configure({ tcb: { ...s.processor.settings.tcb, snp } });
  });

  test('a running session feels a newer policy: floor at once, admission at once', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await attested(s);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    const { guest } = await s.launch();
    const admitted = {
      allowSimulated: true,
      snp: { measurements: [{ digest: guest.measurement, imageSvn: 1, name: 'image' }] },
    };
    await nextPolicyOf(s, { svnFloor: 3, appraisal: admitted });
    const raised = value(await agent.ask(acquire(keyId)), 'keyAcquire');
    expect([raised.svn, raised.svnFloor]).toEqual([3, 3]);
    const none = { snp: { measurements: [{ digest: new Uint8Array(48), name: 'other' }] } };
    await nextPolicyOf(s, { svnFloor: 3, appraisal: { ...none, allowSimulated: true } });
    const refused = value(await agent.ask(acquire(keyId)), 'error');
    expect(refused.code).toBe('POLICY_MEASUREMENT');
  });

  test('after the lease the agent must attest again', async () => {
    const s = await startKeyServer();
    await s.setPolicy({ keyRules: { leaseSeconds: 60 } });
    const agent = await attested(s);
    s.place.now += 61_000;
    expect(value(await agent.ask(alloc), 'error').code).toBe('REATTEST_REQUIRED');
  });

  test("another tenant's KeyID and an unknown one are told apart by nobody", async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await attested(s);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    const { guest, configDocument } = await s.launch({
      tenantId: 'globex',
      policyAnchor: thumbprint(s.t.globex.publicKey),
    });
    const signed = await signedPolicy(s.t.globex.key, {
      tenantId: 'globex',
      appraisal: {
        allowSimulated: true,
        snp: { measurements: [{ digest: guest.measurement, imageSvn: 1, name: 'image' }] },
      },
    });
    await s.state.policies.set('globex', signed, { requestId: 'test' });
    const other = await s.agent({ guest, configDocument });
    await other.attest();
    const foreign = value(await other.ask(acquire(keyId)), 'error');
    const unknown = value(await other.ask(acquire(new Uint8Array(16))), 'error');
    expect(foreign.code).toBe('NOT_FOUND');
    expect(foreign).toEqual(unknown);
  });
});

/** The next version of acme's policy, by acme's own key. */
async function nextPolicyOf(s: TestKeyServer, changes: Parameters<typeof nextPolicy>[1]) {
  const current = await s.state.policies.get('acme', 'web', 0);
  const signed = await signedPolicy(s.tenantKey, {
    version: BigInt(current.policy.version) + 1n,
    prevDigest: current.digest,
    ...changes,
  });
  await s.state.policies.set('acme', signed, { requestId: 'test' });
}

describe('refused attestations: a code for the agent, every failed check for the tenant', () => {
  test('no policy', async () => {
    const s = await startKeyServer();
    const agent = await s.agent(await s.launch());
    expect(await refusedWith(agent.attest())).toBe('NO_POLICY');
    const [entry] = await attestRefusals(s);
    expect(entry).toMatchObject({ code: 'NO_POLICY', cvmName: 'web-1' });
  });

  test('a CVM that the policy does not name', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch({ cvmName: 'db-1' }));
    expect(await refusedWith(agent.attest())).toBe('NO_POLICY');
  });

  test('an unknown tenant is answered as one without a policy', async () => {
    const s = await startKeyServer();
    const agent = await s.agent(await s.launch({ tenantId: 'nobody' }));
    expect(await refusedWith(agent.attest())).toBe('NO_POLICY');
  });

  test("a policy anchor that is not the tenant's key", async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const stranger = await makeSigner('acme');
    const policyAnchor = thumbprint(stranger.publicKey);
    const agent = await s.agent(await s.launch({ policyAnchor }));
    expect(await refusedWith(agent.attest())).toBe('CONFIG_MISMATCH');
  });

  test('another measurement, and more that is wrong: all of it is on record', async () => {
    const s = await startKeyServer();
    await s.setPolicy({ levels: levels(30) });
    s.processor.configure({ platformInfo: 0n });
    const agent = await s.agent(await s.launch({ cmdline: 'init=/bin/sh' }));
    const code = await refusedWith(agent.attest());
    const [entry] = await attestRefusals(s);
    const codes = entry?.failedChecks?.map((check) => check.code) ?? [];
    expect(codes.length).toBeGreaterThanOrEqual(2);
    expect(codes).toContain('POLICY_MEASUREMENT');
    expect(code).toBe(codes[0]);
    expect(entry?.code).toBe(code);
  });

  test('simulated hardware where the policy does not say so', async () => {
    const s = await startKeyServer();
    const { guest } = await s.launch();
    const snp = { measurements: [{ digest: guest.measurement, imageSvn: 1, name: 'image' }] };
    await s.setPolicy({ appraisal: { snp } });
    const agent = await s.agent(await s.launch());
    expect(await refusedWith(agent.attest())).toBe('POLICY_SIMULATED');
  });

  test('a report for another session, another config document, a debug guest', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const launched = await s.launch();
    const cases = [
      ['BINDING_MISMATCH', { REPORT_DATA: new Uint8Array(64) }],
      ['CONFIG_MISMATCH', { HOST_DATA: new Uint8Array(32) }],
      ['POLICY_DEBUG', { POLICY: 0xb0000n }],
    ] as const;
    for (const [expected, overrides] of cases) {
      const agent = await s.agent(launched);
      expect(await refusedWith(agent.attest({ overrides }))).toBe(expected);
    }
    // Nobody's record where the hardware did not name the tenant.
    const recorded = (await attestRefusals(s)).map((entry) => entry.code);
    expect(recorded).toEqual(['POLICY_DEBUG']);
  });

  test('a tampered report: only the code leaves the server, the reason stays in its log', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    const tamper = (report: Uint8Array) => {
      report[reportFields.MEASUREMENT.offset]! ^= 1;
    };
    agent.send('evidence', await agent.evidenceFor(await agent.challenge(), { tamper }));
    const end = await agent.stream.end();
    expect(end.message).toBe(
      'EVIDENCE_SIGNATURE_INVALID: The signature of the evidence does not verify.',
    );
    expect(s.t.log.join('')).toContain('EVIDENCE_SIGNATURE_INVALID');
  });

  test('a config document that names another Key Server', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const other = thumbprint((await makeSigner('x')).publicKey);
    const agent = await s.agent(await s.launch({ keyServers: [other] }));
    // The agent itself stops here: it would not talk to this server.
    await expect(agent.challenge()).rejects.toMatchObject({ code: 'SERVER_UNTRUSTED' });
  });
});
