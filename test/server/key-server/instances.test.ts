import { describe, expect, test } from 'vitest';
import { crypto } from '#crypto';
import { NoticeKind, type ServerMessage } from '#gen/cvmp/v1/key_pb.js';
import type { RawAgent } from '../../fakes/raw-agent.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { signedPolicy } from './state.js';

type Response = ServerMessage['response'];

function value<C extends Response['case']>(response: Response, kind: C) {
  expect(response.case).toBe(kind);
  return response.value as Extract<Response, { case: C }>['value'];
}

const alloc = { case: 'keyAlloc' as const, value: {} };
const acquire = (keyId: Uint8Array) => ({ case: 'keyAcquire', value: { keyId, svn: 0 } }) as const;
const single = { keyRules: { singleInstance: true, leaseSeconds: 60 } };

async function attested(s: TestKeyServer): Promise<RawAgent> {
  const agent = await s.agent(await s.launch());
  await agent.attest();
  return agent;
}

const order = (keyId: Uint8Array) => ({
  tenantId: 'acme',
  keyId,
  requestId: crypto.randomBytes(16),
  expectedRevision: undefined,
  call: { requestId: 'test' },
});

async function codeOf(agent: RawAgent, keyId: Uint8Array): Promise<string> {
  const answer = await agent.ask(acquire(keyId));
  return answer.case === 'error' ? answer.value.code : 'served';
}

describe('a second instance of a CVM beside the first (protocol.md s.6.4, s.6.6: fork)', () => {
  test('is refused until the lease is over; then the first one is', async () => {
    const s = await startKeyServer();
    await s.setPolicy(single);
    const [one, two] = [await attested(s), await attested(s)];
    const { keyId } = value(await one.ask(alloc), 'keyAlloc');
    expect([await codeOf(one, keyId), await codeOf(two, keyId)]).toEqual([
      'served',
      'INSTANCE_CONFLICT',
    ]);
    // The lease is durable with the release, and the server that comes after knows it.
    const { lease } = await s.state.keys.get('acme', keyId);
    expect(lease?.until).toBe(s.place.now + 60_000);
    s.place.now += 61_000;
    for (const agent of [one, two]) {
      agent.again();
      await agent.attest();
    }
    expect([await codeOf(two, keyId), await codeOf(one, keyId)]).toEqual([
      'served',
      'INSTANCE_CONFLICT',
    ]);
  });

  test('attesting again in time renews the lease', async () => {
    const s = await startKeyServer();
    await s.setPolicy(single);
    const [one, two] = [await attested(s), await attested(s)];
    const { keyId } = value(await one.ask(alloc), 'keyAlloc');
    for (let i = 0; i < 3; i++) {
      s.place.now += 50_000;
      one.again();
      await one.attest();
      two.again();
      await two.attest();
      expect([await codeOf(one, keyId), await codeOf(two, keyId)]).toEqual([
        'served',
        'INSTANCE_CONFLICT',
      ]);
    }
  });

  test('takes the key over at the word of the tenant, and the first one is told', async () => {
    const s = await startKeyServer();
    await s.setPolicy(single);
    const [one, two] = [await attested(s), await attested(s)];
    const { keyId } = value(await one.ask(alloc), 'keyAlloc');
    await s.state.keyAdmin.takeOver(order(keyId));
    expect(await one.notice()).toMatchObject({ kind: NoticeKind.KEY_TAKEN_OVER, keyId });
    expect([await codeOf(one, keyId), await codeOf(two, keyId)]).toEqual([
      'INSTANCE_CONFLICT',
      'served',
    ]);
    expect(await codeOf(one, keyId)).toBe('INSTANCE_CONFLICT');
  });

  test('racing for a key, one of them has it', async () => {
    const s = await startKeyServer();
    await s.setPolicy(single);
    const agents = [await attested(s), await attested(s), await attested(s)];
    const maker = await attested(s);
    const { keyId } = value(await maker.ask(alloc), 'keyAlloc');
    await s.state.keyAdmin.takeOver(order(keyId));
    const codes = await Promise.all(agents.map((agent) => codeOf(agent, keyId)));
    expect(codes.sort()).toEqual(['INSTANCE_CONFLICT', 'INSTANCE_CONFLICT', 'served']);
  });

  test('without single_instance, both have it and no lease is written', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const [one, two] = [await attested(s), await attested(s)];
    const { keyId } = value(await one.ask(alloc), 'keyAlloc');
    expect([await codeOf(one, keyId), await codeOf(two, keyId)]).toEqual(['served', 'served']);
    expect((await s.state.keys.get('acme', keyId)).lease).toBeUndefined();
  });
});

describe('the tenant has sessions attest again (protocol.md s.6.5)', () => {
  const admitted = async (s: TestKeyServer) => {
    const { guest } = await s.launch();
    const measurements = [{ digest: guest.measurement, imageSvn: 1, name: 'image' }];
    return { allowSimulated: true, snp: { measurements } };
  };

  test('by an order: told at once, refused until it did, once', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const [agent, other] = [await attested(s), await attested(s)];
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    const call = { requestId: 'test' };
    expect(await s.state.policies.requireReattestation('acme', 'web', call)).toBe(2);
    expect(await agent.notice()).toMatchObject({ kind: NoticeKind.REATTEST_REQUIRED });
    expect(await codeOf(agent, keyId)).toBe('REATTEST_REQUIRED');
    agent.again();
    await agent.attest();
    expect(await codeOf(agent, keyId)).toBe('served');
    expect(await codeOf(other, keyId)).toBe('REATTEST_REQUIRED');
    await expect(s.state.policies.requireReattestation('acme', 'none', call)).rejects.toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' }),
    );
  });

  test('by a policy that says so, and not again by the one after it', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const [agent, late] = [await attested(s), await attested(s)];
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    for (const [version, reattest] of [
      [2n, true],
      [3n, false],
    ] as const) {
      const { digest } = await s.state.policies.get('acme', 'web', 0);
      const changes = { version, prevDigest: digest, reattest, appraisal: await admitted(s) };
      const signed = await signedPolicy(s.tenantKey, changes);
      await s.state.policies.set('acme', signed, { requestId: 'test' });
      expect((await agent.notice()).kind).toBe(
        reattest ? NoticeKind.REATTEST_REQUIRED : NoticeKind.POLICY_CHANGED,
      );
      if (!reattest) break;
      agent.again();
      await agent.attest();
    }
    expect(await codeOf(agent, keyId)).toBe('served');
    // Who slept through both versions still has to.
    expect(await codeOf(late, keyId)).toBe('REATTEST_REQUIRED');
  });
});
