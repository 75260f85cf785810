import { fromBinary } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { crypto } from '#crypto';
import {
  NoticeKind,
  type ServerMessage,
  ServerMessageSchema,
  SessionResponseSchema,
} from '#gen/cvmp/v1/key_pb.js';
import { type RawAgent, refusedWith } from '../../fakes/raw-agent.js';
import { simulatedProcessor } from '../../fakes/simulated-hardware.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { signedPolicy } from './state.js';

type Response = ServerMessage['response'];

function value<C extends Response['case']>(response: Response, kind: C) {
  expect(response.case).toBe(kind);
  return response.value as Extract<Response, { case: C }>['value'];
}

const alloc = { case: 'keyAlloc' as const, value: {} };
const acquire = (keyId: Uint8Array) => ({ case: 'keyAcquire', value: { keyId, svn: 0 } }) as const;

async function attested(s: TestKeyServer, launched = s.launch()): Promise<RawAgent> {
  const agent = await s.agent(await launched);
  await agent.attest();
  return agent;
}

async function auditOf(s: TestKeyServer) {
  const { items } = await s.state.audit.list('acme', { pageSize: 100, pageToken: '' });
  return items.map(({ operation, code }) => `${operation} ${code ?? 'granted'}`).reverse();
}

describe('attesting again on the same stream (protocol.md s.6.5)', () => {
  test('after the lease: refused by its code, attested again, served again', async () => {
    const s = await startKeyServer();
    await s.setPolicy({ keyRules: { leaseSeconds: 60 } });
    const agent = await attested(s);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    s.place.now += 61_000;
    expect(value(await agent.ask(acquire(keyId)), 'error').code).toBe('REATTEST_REQUIRED');
    agent.again();
    const grant = value((await agent.attest()).response, 'grant');
    expect(Number(grant.leaseExpires?.seconds)).toBe(Math.floor((s.place.now + 60_000) / 1000));
    value(await agent.ask(acquire(keyId)), 'keyAcquire');
    expect(await auditOf(s)).toEqual([
      'register_tenant granted',
      'set_key_policy granted',
      'attest granted',
      'key_alloc granted',
      'key_acquire REATTEST_REQUIRED',
      'attest granted',
      'key_acquire granted',
    ]);
  });

  test('no request in flight is lost: answers before the accept by the old keys, after it by the new', async () => {
    const s = await startKeyServer({ inFlightMax: 64 });
    await s.setPolicy();
    const agent = await attested(s);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    const { before } = agent.again();
    const open = agent.session;
    agent.send('clientInit', open.clientInit());
    const asked = new Set<string>();
    agent.session = before;
    const ask = () => asked.add(hex(agent.request(acquire(keyId))));
    for (let i = 0; i < 20; i++) ask();
    let [accepted, granted] = [false, false];
    const answered: string[] = [];
    while (answered.length < 40 || !granted) {
      const { frame } = fromBinary(SessionResponseSchema, await bytesOf(agent));
      if (frame.case === 'challenge') {
        const { reportData } = await open.challenge(frame.value);
        for (let i = 0; i < 20; i++) ask();
        agent.session = open;
        agent.send('evidence', await agent.evidenceFor(reportData));
      } else if (frame.case === 'accept') {
        await open.accept(frame.value);
        accepted = true;
      } else {
        const session = accepted ? open : before;
        const message = fromBinary(ServerMessageSchema, session.open(frame.value!));
        granted ||= message.response.case === 'grant';
        if (message.response.case === 'grant') continue;
        expect(message.response.case).toBe('keyAcquire');
        answered.push(hex(message.requestId));
      }
    }
    expect(new Set(answered)).toEqual(asked);
    value(await agent.ask(acquire(keyId)), 'keyAcquire');
  });

  test('refused evidence: what is in flight is answered, then the stream ends with the code', async () => {
    const s = await startKeyServer({ inFlightMax: 64 });
    await s.setPolicy();
    const agent = await attested(s);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    const { before } = agent.again();
    const next = agent.session;
    const reportData = await agent.challenge();
    agent.session = before;
    const asked = Array.from({ length: 10 }, () => hex(agent.request(acquire(keyId))));
    agent.session = next;
    agent.send('evidence', await agent.evidenceFor(reportData, { overrides: { VMPL: 3 } }));
    agent.session = before;
    const answered: string[] = [];
    for (let i = 0; i < 10; i++) answered.push(hex((await agent.receive()).requestId));
    expect(answered.sort()).toEqual(asked.sort());
    expect((await agent.stream.end()).code).toBe('POLICY_VMPL');
  });

  test('a CVM that migrated attests again on its stream, from its new chip', async () => {
    const s = await startKeyServer();
    const migrationAgent = new Uint8Array(32).fill(7);
    const launched = await s.launch({ migrationAgent });
    const measurements = [{ digest: launched.guest.measurement, imageSvn: 1, name: 'image' }];
    const chip = s.processor.chip.chipId;
    const rules = (chipAllow: Uint8Array[]) => ({
      allowSimulated: true,
      snp: { measurements, migrationAgents: [migrationAgent], chipAllow },
    });
    const destination = await simulatedProcessor('Genoa', () => s.place.now);
    await s.setPolicy({ appraisal: rules([chip, destination.chip.chipId]) });
    const agent = await attested(s, Promise.resolve(launched));
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    const [first] = (await s.state.audit.list('acme', { pageSize: 1, pageToken: '' })).items;
    launched.guest.migrate(destination);
    agent.again();
    value((await agent.attest()).response, 'grant');
    // Keys are bound to tenant, CVM and policy, to no chip.
    value(await agent.ask(acquire(keyId)), 'keyAcquire');
    const [last] = (await s.state.audit.list('acme', { pageSize: 1, pageToken: '' })).items;
    expect(last?.evidenceDigest).not.toEqual(first?.evidenceDigest);

    // To a chip that the policy does not name: the stream ends, and with it all that it could ask.
    launched.guest.migrate(await simulatedProcessor('Genoa', () => s.place.now));
    agent.again();
    expect(await refusedWith(agent.attest())).toBe('POLICY_CHIP');
  });

  test('old evidence, a stranger and a second instance do not go on with the stream', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const launched = await s.launch();
    const [db, twin] = [await s.launch({ cvmName: 'web-2' }), await s.launch()];
    const cases = [
      ['BINDING_MISMATCH', launched, { overrides: { REPORT_DATA: new Uint8Array(64) } }],
      ['INSTANCE_CONFLICT', twin, {}],
      ['CONFIG_MISMATCH', db, {}],
    ] as const;
    for (const [code, other, change] of cases) {
      const agent = await attested(s, Promise.resolve(launched));
      agent.again({ configDocument: other.configDocument });
      expect(await refusedWith(agent.attest({ ...change, guest: other.guest }))).toBe(code);
    }
  });

  test('strict order: nothing is sealed between evidence and accept, no second handshake beside one', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const early = await attested(s);
    const { before } = early.again();
    const next = early.session;
    early.send('evidence', await early.evidenceFor(await early.challenge()));
    early.session = before;
    early.request(alloc);
    expect((await early.stream.end()).code).toBe('PROTOCOL_ORDER');
    next.close();
    const twice = await attested(s);
    const another = twice.session.again();
    twice.again();
    await twice.challenge();
    twice.send('clientInit', another.clientInit());
    expect((await twice.stream.end()).code).toBe('PROTOCOL_ORDER');
    const unasked = await attested(s);
    unasked.send('evidence', crypto.randomBytes(100));
    expect((await unasked.stream.end()).code).toBe('PROTOCOL_ORDER');
  });

  test('attestations on one stream are counted: RATE', async () => {
    const s = await startKeyServer({ attestationsPerHourMax: 2 });
    await s.setPolicy();
    const agent = await attested(s);
    agent.again();
    await agent.attest();
    agent.again();
    expect(await refusedWith(agent.attest())).toBe('RATE');
    const patient = await attested(s);
    patient.again();
    await patient.attest();
    s.place.now += 3_600_000;
    patient.again();
    await patient.attest();
  });

  test('notices go on, sealed by the new keys', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await attested(s);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    agent.again();
    await agent.attest();
    expect(s.state.notices.size).toBe(1);
    s.state.notices.publish('acme', { kind: 'key-suspended', keyId });
    expect((await agent.notice()).kind).toBe(NoticeKind.KEY_SUSPENDED);
    const current = await s.state.policies.get('acme', 'web', 0);
    const signed = await signedPolicy(s.tenantKey, { version: 2n, prevDigest: current.digest });
    await s.state.policies.set('acme', signed, { requestId: 'test' });
    expect((await agent.notice()).code).toBe('POLICY_MEASUREMENT');
  });
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

async function bytesOf(agent: RawAgent): Promise<Uint8Array> {
  const got = await agent.stream.next();
  if (got instanceof Uint8Array) return got;
  throw new Error(`${got.code}: ${got.message}`);
}
