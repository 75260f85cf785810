import { describe, expect, test } from 'vitest';
import { crypto } from '#crypto';
import { NoticeKind, type ServerMessage } from '#gen/cvmp/v1/key_pb.js';
import { type LiveSession, type Notice, NoticeBoard } from '#server/key-server/notices.js';
import type { StoredPolicy } from '#server/key-server/release/contract.js';
import { ToldSession } from '#server/key-server/session/told.js';
import type { RawAgent } from '../../fakes/raw-agent.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { grantOf, signedPolicy } from './state.js';

const alloc = { case: 'keyAlloc' as const, value: {} };
const acquire = (keyId: Uint8Array) => ({ case: 'keyAcquire', value: { keyId, svn: 0 } }) as const;

function value<C extends ServerMessage['response']['case']>(
  response: ServerMessage['response'],
  kind: C,
) {
  expect(response.case).toBe(kind);
  return response.value as Extract<ServerMessage['response'], { case: C }>['value'];
}

async function attested(s: TestKeyServer, launched = s.launch()): Promise<RawAgent> {
  const agent = await s.agent(await launched);
  await agent.attest();
  return agent;
}

/** The next version of acme's policy, admitting what `launch` launches unless told. */
async function nextPolicy(s: TestKeyServer, changes: Parameters<typeof signedPolicy>[1]) {
  const current = await s.state.policies.get('acme', 'web', 0);
  const { guest } = await s.launch();
  const signed = await signedPolicy(s.tenantKey, {
    version: BigInt(current.policy.version) + 1n,
    prevDigest: current.digest,
    appraisal: {
      allowSimulated: true,
      snp: { measurements: [{ digest: guest.measurement, imageSvn: 1, name: 'image' }] },
    },
    ...changes,
  });
  await s.state.policies.set('acme', signed, { requestId: 'test' });
}

describe('notices: running sessions learn of a change without asking (protocol.md s.6.4 (6))', () => {
  test('a raised floor: the notice is there before the next request, which is decided by it', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await attested(s);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    await nextPolicy(s, { svnFloor: 3 });
    // Nothing was sent since: what arrives now came by itself.
    const notice = await agent.notice();
    expect(notice).toMatchObject({
      kind: NoticeKind.POLICY_CHANGED,
      level: 4,
      svnFloor: 3,
      code: '',
    });
    const acquired = value(await agent.ask(acquire(keyId)), 'keyAcquire');
    expect([acquired.svn, acquired.svnFloor]).toEqual([3, 3]);
  });

  test('revocation: who falls below the floor is told the code that its next request meets', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    s.processor.configure({ tcb: { ...s.processor.settings.tcb, snp: 2 } });
    const agent = await attested(s);
    const { keyId } = value(await agent.ask(alloc), 'keyAlloc');
    await nextPolicy(s, { svnFloor: 3 });
    const notice = await agent.notice();
    expect(notice).toMatchObject({ kind: NoticeKind.POLICY_CHANGED, code: 'SVN_BELOW_FLOOR' });
    expect(value(await agent.ask(acquire(keyId)), 'error').code).toBe(notice.code);
  });

  test('a chip that is denied', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await attested(s);
    const { guest } = await s.launch();
    const measurements = [{ digest: guest.measurement, imageSvn: 1, name: 'image' }];
    const chipDeny = [s.processor.chip.chipId];
    await nextPolicy(s, { appraisal: { allowSimulated: true, snp: { measurements, chipDeny } } });
    const notice = await agent.notice();
    expect(notice).toMatchObject({ level: 0, code: 'POLICY_CHIP' });
    expect(value(await agent.ask(alloc), 'error').code).toBe('POLICY_CHIP');
  });

  test('the same version again, a dry run and the policy of other CVMs are no news', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await attested(s);
    const current = await s.state.policies.get('acme', 'web', 0);
    await s.state.policies.set('acme', current.signed, { requestId: 'test' });
    const other = await signedPolicy(s.tenantKey, { policyId: 'db', cvmNames: ['db-*'] });
    await s.state.policies.set('acme', other, { requestId: 'test' });
    const next = await signedPolicy(s.tenantKey, {
      version: 2n,
      prevDigest: current.digest,
      svnFloor: 2,
    });
    await s.state.policies.set('acme', next, { requestId: 'test' }, { dryRun: true });
    value(await agent.ask(alloc), 'keyAlloc');
    expect(agent.notices).toEqual([]);
  });

  test('a key notice reaches the sessions that named the key, and no other', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const launched = s.launch();
    const [one, two] = [await attested(s, launched), await attested(s)];
    const { keyId } = value(await one.ask(alloc), 'keyAlloc');
    value(await two.ask(alloc), 'keyAlloc');
    s.state.notices.publish('acme', { kind: 'key-suspended', keyId });
    s.state.notices.publish('globex', { kind: 'key-destroyed', keyId });
    s.state.notices.publishToAll({ kind: 'shutting-down' });
    expect(await one.notice()).toMatchObject({ kind: NoticeKind.KEY_SUSPENDED, keyId });
    expect((await one.notice()).kind).toBe(NoticeKind.SHUTTING_DOWN);
    expect((await two.notice()).kind).toBe(NoticeKind.SHUTTING_DOWN);
  });

  test('a session that ends leaves the board', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await attested(s);
    expect(s.state.notices.size).toBe(1);
    agent.stream.halfClose();
    await agent.stream.end();
    expect(s.state.notices.size).toBe(0);
  });
});

describe('the notice board costs little, whatever its size', () => {
  const session = (tenantId: string, told: string[], name: string): LiveSession => ({
    tenantId,
    grant: grantOf({ policy: { tenantId } } as StoredPolicy, 1),
    keys: new Set(),
    tell: ({ kind }) => void told.push(`${name} ${kind}`),
  });

  test('thousands of sessions are told in slices, in order; who left meanwhile is not told', async () => {
    const board = new NoticeBoard();
    const told: string[] = [];
    const leave = Array.from({ length: 1000 }, (_, i) =>
      board.register(session('acme', told, `${i}`)),
    );
    board.register(session('globex', told, 'other'));
    board.publish('acme', { kind: 'shutting-down' });
    expect(told.length).toBeLessThan(100);
    leave[999]!();
    while (told.length < 999) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toEqual(Array.from({ length: 999 }, (_, i) => `${i} shutting-down`));
    for (const end of leave) end();
    expect(board.size).toBe(1);
  });

  test('for an agent that does not read, the newest notice of each kind and key waits', () => {
    const sent: unknown[] = [];
    const told = new ToldSession(
      grantOf({ policy: { tenantId: 'acme' } } as StoredPolicy, 1),
      (n) => sent.push(n),
    );
    const key = (i: number) => crypto.hash('sha256', Uint8Array.of(i)).slice(0, 16);
    for (let i = 0; i < 200; i++) told.uses(key(i));
    expect(told.keys.size).toBe(64);
    told.hold();
    const changed = (svnFloor: number): Notice => ({
      kind: 'policy-changed',
      standing: () => ({ level: 1, svnFloor, code: undefined }),
    });
    for (let i = 1; i <= 1000; i++) told.tell(changed(i));
    told.tell({ kind: 'key-suspended', keyId: key(199) });
    told.tell({ kind: 'key-suspended', keyId: key(0) });
    expect(sent).toEqual([]);
    told.release();
    expect(sent).toMatchObject([{ svnFloor: 1000 }, { keyId: key(199) }]);
  });
});
