import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connectSession } from '#agent/session/client.js';
import type { KeySession, Notice } from '#agent/session/key-session.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { NoticeKind } from '#gen/cvmp/v1/key_pb.js';
import { snpAttester } from '../../fakes/configfs-tsm.js';
import { SessionServer } from '../../fakes/session-server.js';
import { refusalOf } from '../../refusal.js';

const randomBytes = (length: number) => crypto.randomBytes(length);
const disk = () => ({ requestId: randomBytes(16), keyId: undefined, purpose: 'disk' as const });

let server: SessionServer;
const endings: (() => unknown)[] = [];

beforeAll(async () => {
  server = await SessionServer.start();
});
afterAll(() => server.close());
beforeEach(() => {
  Object.assign(server.misbehaviour, { refuse: undefined, answer: undefined, frame: undefined });
  server.level = 1;
  server.policy = { tenantId: 'acme', cvmNames: ['web*'], allowSimulated: true };
});
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

async function connected(): Promise<KeySession> {
  const configDocument = server.configDocument();
  const session = await connectSession({
    keyServer: { host: '127.0.0.1', port: server.port },
    ca: server.tls.certificate,
    attester: snpAttester(configDocument),
    configDocument,
    agentBuild: 'test',
    randomBytes,
  });
  endings.push(() => session.close());
  return session;
}

describe('attesting again on the same stream (protocol.md s.6.5)', () => {
  test('a new grant by fresh evidence, on the same connection; requests made meanwhile wait for it', async () => {
    const session = await connected();
    const { keyId } = await session.alloc(disk());
    const { handshakes, attestations } = server;
    server.level = 3;
    const work = Promise.all([
      session.reattest(),
      session.acquire(keyId, undefined, 'boot'),
      session.reattest(),
      session.acquire(keyId, undefined, 'boot'),
    ]);
    const [grant, first] = await work;
    expect(first.keyId).toEqual(keyId);
    expect([grant.level, session.grant.level]).toEqual([3, 3]);
    expect([server.handshakes - handshakes, server.attestations - attestations]).toEqual([0, 1]);
    await session.reattest();
    expect((await session.acquire(keyId, 3, 'rekey')).svn).toBe(3);
  });

  test('a request that meets REATTEST_REQUIRED is made again after it, with the same id', async () => {
    const session = await connected();
    const { keyId } = await session.alloc(disk());
    const asked: Uint8Array[] = [];
    server.misbehaviour.answer = ({ requestId }) => {
      asked.push(requestId);
      if (asked.length > 1) return undefined;
      return { case: 'error', value: { code: 'REATTEST_REQUIRED', message: '', field: '' } };
    };
    const { attestations } = server;
    expect((await session.acquire(keyId, undefined, 'boot')).keyId).toEqual(keyId);
    expect(server.attestations).toBe(attestations + 1);
    expect(asked[1]).toEqual(asked[0]);
  });

  test('refused evidence ends the session with its code, for what waits too', async () => {
    const session = await connected();
    const { keyId } = await session.alloc(disk());
    server.misbehaviour.refuse = new CvmpError('POLICY_CHIP', 'denied');
    const again = session.reattest();
    expect(await refusalOf(again)).toBe('POLICY_CHIP');
    expect(await refusalOf(session.acquire(keyId, undefined, 'boot'))).toBe('POLICY_CHIP');
    expect((await session.ended).code).toBe('POLICY_CHIP');
    expect(await refusalOf(session.reattest())).toBe('POLICY_CHIP');
  });

  test.each(['challenge', 'accept', 'sealed'] as const)(
    'a %s frame that is not the server’s ends it',
    async (kind) => {
      const session = await connected();
      server.misbehaviour.frame = (kindOf, frame) =>
        kindOf === kind ? frame.map((x, i) => (i === frame.length - 1 ? x ^ 1 : x)) : frame;
      expect(await refusalOf(session.reattest())).not.toBe('accepted');
      expect(await refusalOf(session.alloc(disk()))).not.toBe('accepted');
    },
  );

  test('a policy of another signer is not taken the second time either', async () => {
    const session = await connected();
    server.policy = { ...server.policy, tenantId: 'globex' };
    expect(await refusalOf(session.reattest())).toBe('SERVER_UNTRUSTED');
  });
});

describe('notices', () => {
  test('are handed over in their order, from the first on, also around an attestation', async () => {
    const session = await connected();
    const { keyId } = await session.alloc(disk());
    server.notify({
      kind: NoticeKind.POLICY_CHANGED,
      level: 1,
      svnFloor: 2,
      code: 'SVN_BELOW_FLOOR',
    });
    server.notify({ kind: 99 as NoticeKind });
    await session.acquire(keyId, undefined, 'boot');
    await session.reattest();
    server.notify({ kind: NoticeKind.KEY_DESTROYED, keyId });
    await session.acquire(keyId, undefined, 'boot');
    const notices: Notice[] = [];
    session.onNotice((notice) => notices.push(notice));
    expect(notices).toMatchObject([
      { kind: 'policy changed', level: 1, svnFloor: 2, code: 'SVN_BELOW_FLOOR' },
      { kind: 'key destroyed', keyId },
    ]);
  });

  test('who closes a session, and who loses it, learns it by its end', async () => {
    const [one, two] = [await connected(), await connected()];
    one.close();
    expect((await one.ended).code).toBe('CANCELLED');
    server.cut();
    expect((await two.ended).code).toBe('UNAVAILABLE');
  });
});
