import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Attester } from '#agent/attester/attester.js';
import { type ConnectOptions, connectSession } from '#agent/session/client.js';
import { checkGrant } from '#agent/session/grant.js';
import type { KeySession } from '#agent/session/key-session.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { snpAttester } from '../../fakes/configfs-tsm.js';
import { SessionServer } from '../../fakes/session-server.js';
import { refusalOf } from '../../refusal.js';

const randomBytes = (length: number) => crypto.randomBytes(length);
const disk = (keyId?: Uint8Array) => ({
  requestId: randomBytes(16),
  keyId,
  purpose: 'disk' as const,
});

let server: SessionServer;
const endings: (() => unknown)[] = [];

beforeAll(async () => {
  server = await SessionServer.start();
});
afterAll(() => server.close());
beforeEach(() => {
  Object.assign(server.misbehaviour, {
    refuse: undefined,
    answer: undefined,
    frame: undefined,
    grant: undefined,
  });
  server.level = 1;
  server.policy = { tenantId: 'acme', cvmNames: ['web*'], allowSimulated: true };
});
afterEach(async () => {
  for (const end of endings.splice(0)) await end();
});

function options(change: Partial<ConnectOptions> = {}): ConnectOptions {
  const configDocument = change.configDocument ?? server.configDocument();
  return {
    keyServer: { host: '127.0.0.1', port: server.port },
    ca: server.tls.certificate,
    attester: snpAttester(configDocument),
    configDocument,
    agentBuild: 'test',
    randomBytes,
    ...change,
  };
}

async function connected(change: Partial<ConnectOptions> = {}): Promise<KeySession> {
  const session = await connectSession(options(change));
  endings.push(() => session.close());
  return session;
}

describe('session with the Key Server (protocol.md s.6.2, s.6.3)', () => {
  test('attests, then allocates, confirms, acquires and updates', async () => {
    const session = await connected();
    await checkGrant(session.grant, server.configDocument());
    expect(session.grant).toMatchObject({ level: 1, simulated: true });
    const key = await session.alloc(disk());
    await session.confirm(key);
    const again = await session.acquire(key.keyId, undefined, 'boot');
    expect(again.key).toEqual(key.key);
    expect(again).toMatchObject({ svn: 1, level: 1, rekeyAdvised: false });
    await session.update(key.keyId, 1, { svn: 1, epoch: 1 });
    expect(await refusalOf(session.update(key.keyId, 2, undefined))).toBe('SVN_ABOVE_LEVEL');
  });

  test('requests made side by side get each its own answer', async () => {
    const session = await connected();
    const keys = await Promise.all(Array.from({ length: 10 }, () => session.alloc(disk())));
    const again = await Promise.all(keys.map((key) => session.acquire(key.keyId, 1, 'boot')));
    expect(again.map(({ key }) => key)).toEqual(keys.map(({ key }) => key));
  });

  test('a refusal inside the session names its code, and the session goes on', async () => {
    const session = await connected();
    expect(await refusalOf(session.acquire(randomBytes(16), 1, 'boot'))).toBe('NOT_FOUND');
    expect((await session.alloc(disk())).svn).toBe(1);
  });

  test('a refusal of the evidence names its code', async () => {
    server.misbehaviour.refuse = new CvmpError('POLICY_MEASUREMENT', 'not admitted');
    await expect(connectSession(options())).rejects.toMatchObject({ code: 'POLICY_MEASUREMENT' });
  });

  test('a code that this agent does not know is a refusal all the same', async () => {
    server.misbehaviour.answer = () => ({
      case: 'error',
      value: { code: 'FROM_THE_FUTURE', message: 'm', field: '' },
    });
    const session = await connected();
    expect(await refusalOf(session.alloc(disk()))).toBe('POLICY_REFUSED');
  });

  test('works without a CA: the Challenge identifies the server', async () => {
    expect((await connected({ ca: undefined })).grant.level).toBe(1);
  });
});

describe('whom the agent does not trust', () => {
  test('a server that the config document does not name gets no evidence', async () => {
    const other = await SessionServer.start();
    endings.push(() => other.close());
    const configDocument = other.configDocument();
    let asked = 0;
    const attester: Attester = {
      profiles: ['snp'],
      close: () => {},
      evidence: async () => {
        asked += 1;
        return new Uint8Array(1);
      },
    };
    const work = connectSession(options({ configDocument, attester }));
    expect(await refusalOf(work)).toBe('SERVER_UNTRUSTED');
    expect(asked).toBe(0);
  });

  test('a certificate that the CA did not issue', async () => {
    const other = await SessionServer.start();
    endings.push(() => other.close());
    const work = connectSession(options({ ca: other.tls.certificate }));
    expect(await refusalOf(work)).toBe('SERVER_UNTRUSTED');
  });

  test('a peer that speaks TLS 1.2 at most, or no HTTP/2', async () => {
    for (const change of [
      { maxVersion: 'TLSv1.2' as const },
      { ALPNProtocols: ['http/1.1'] },
      {},
    ]) {
      const { key, certificate: cert } = server.tls;
      const peer = createTlsServer({ key, cert, ...change });
      peer.on('tlsClientError', () => {});
      await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve));
      endings.push(() => peer.close());
      const { port } = peer.address() as AddressInfo;
      const work = connectSession(options({ keyServer: { host: '127.0.0.1', port } }));
      expect(await refusalOf(work)).toBe('SERVER_UNTRUSTED');
    }
  });

  test('a relay that ends TLS in the middle is refused by the binding', async () => {
    const { key, certificate: cert } = server.tls;
    const relay = createTlsServer({ key, cert, ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' });
    relay.on('secureConnection', (near) => {
      const far = connectTls({
        host: '127.0.0.1',
        port: server.port,
        ca: cert,
        ALPNProtocols: ['h2'],
      });
      near.pipe(far).pipe(near);
      for (const [one, two] of [
        [near, far],
        [far, near],
      ] as const) {
        one.on('error', () => two.destroy());
      }
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    endings.push(() => relay.close());
    const { port } = relay.address() as AddressInfo;
    const work = connectSession(options({ keyServer: { host: '127.0.0.1', port } }));
    expect(await refusalOf(work)).toBe('BINDING_MISMATCH');
  });

  test.each(['challenge', 'accept', 'sealed'] as const)('a changed %s frame', async (kind) => {
    server.misbehaviour.frame = (sent, frame) =>
      sent === kind ? frame.map((byte, i) => (i === frame.length - 1 ? byte ^ 1 : byte)) : frame;
    const code = await refusalOf(connectSession(options()));
    expect(code).toBe(kind === 'sealed' ? 'SEQUENCE' : 'SERVER_UNTRUSTED');
  });

  test.each<[string, object]>([
    [
      'a key of another value than its check value says',
      { securityKey: new Uint8Array(32).fill(1) },
    ],
    ['a key that is too short', { securityKey: new Uint8Array(8) }],
    ['another SVN than was asked for', { svn: 2 }],
    ['a wrong check value', { kcv: new Uint8Array(8) }],
    ['no epoch', { epoch: 0 }],
  ])('a Key Server that gives %s', async (_, change) => {
    const session = await connected();
    const key = await session.alloc(disk());
    const { keyId, kcv, svn, epoch } = key;
    server.misbehaviour.answer = () => ({
      case: 'keyAcquire',
      value: { securityKey: key.key, keyId, kcv, svn, epoch, ...change },
    });
    expect(await refusalOf(session.acquire(keyId, 1, 'boot'))).toBe('KCV_MISMATCH');
  });

  test('a re-allocation that answers with another KeyID', async () => {
    const session = await connected();
    const key = await session.alloc(disk());
    const value = { ...key, securityKey: key.key, keyId: randomBytes(16) };
    server.misbehaviour.answer = () => ({ case: 'keyAlloc', value });
    expect(await refusalOf(session.alloc(disk(key.keyId)))).toBe('KCV_MISMATCH');
  });

  test('an answer of another kind than the request', async () => {
    const session = await connected();
    server.misbehaviour.answer = () => ({ case: 'keyConfirm', value: {} });
    expect(await refusalOf(session.alloc(disk()))).toBe('PROTOCOL_ORDER');
  });
});

describe('a policy that the tenant did not sign for this CVM', () => {
  const grantOf = async () => (await connected()).grant;

  test.each<[string, () => void]>([
    [
      'of another tenant',
      () => {
        server.policy = { ...server.policy, tenantId: 'other' };
      },
    ],
    [
      'for other CVMs',
      () => {
        server.policy = { ...server.policy, cvmNames: ['db*'] };
      },
    ],
    [
      'that does not admit simulated evidence',
      () => {
        server.policy = { ...server.policy, allowSimulated: false };
      },
    ],
    [
      'without a signature',
      () => {
        server.misbehaviour.grant = { signedPolicy: new Uint8Array([1]) };
      },
    ],
    [
      'without a key',
      () => {
        server.misbehaviour.grant = { tenantKey: new Uint8Array(0) };
      },
    ],
  ])('a policy %s is SERVER_UNTRUSTED', async (_, change) => {
    change();
    const grant = await grantOf();
    expect(await refusalOf(checkGrant(grant, server.configDocument()))).toBe('SERVER_UNTRUSTED');
  });

  test('a policy signed by another key is SERVER_UNTRUSTED, whatever key comes along', async () => {
    const other = await SessionServer.start();
    endings.push(() => other.close());
    const grant = await grantOf();
    const foreign = await connectSession(
      options({
        keyServer: { host: '127.0.0.1', port: other.port },
        ca: other.tls.certificate,
        configDocument: other.configDocument(),
        attester: snpAttester(other.configDocument()),
      }),
    );
    endings.push(() => foreign.close());
    const { tenantKey, signedPolicy } = foreign.grant;
    for (const swapped of [
      { ...grant, signedPolicy },
      { ...grant, signedPolicy, tenantKey },
    ]) {
      const code = await refusalOf(checkGrant(swapped, server.configDocument()));
      expect(code).toBe('SERVER_UNTRUSTED');
    }
  });
});

describe('a Key Server that is gone', () => {
  test('nobody listens', async () => {
    const idle = createTcpServer();
    await new Promise<void>((resolve) => idle.listen(0, '127.0.0.1', resolve));
    const { port } = idle.address() as AddressInfo;
    await new Promise((resolve) => idle.close(resolve));
    const work = connectSession(options({ keyServer: { host: '127.0.0.1', port } }));
    expect(await refusalOf(work)).toBe('UNAVAILABLE');
  });

  test('a name that does not resolve', async () => {
    const keyServer = { host: 'key-server.invalid', port: 1 };
    expect(await refusalOf(connectSession(options({ keyServer })))).toBe('UNAVAILABLE');
  });

  test('hangs up before TLS, or after', async () => {
    const hangUp = createTcpServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => hangUp.listen(0, '127.0.0.1', resolve));
    endings.push(() => hangUp.close());
    const { port } = hangUp.address() as AddressInfo;
    const work = connectSession(options({ keyServer: { host: '127.0.0.1', port } }));
    expect(await refusalOf(work)).toBe('UNAVAILABLE');
    server.misbehaviour.frame = () => {
      server.cut();
      return new Uint8Array(1);
    };
    expect(await refusalOf(connectSession(options()))).toBe('UNAVAILABLE');
  });

  test('a stream that breaks fails what waits and what comes later', async () => {
    const session = await connected();
    const key = await session.alloc(disk());
    server.misbehaviour.answer = () => {
      server.cut();
      throw new Error('gone');
    };
    const waiting = [1, 2].map(() => refusalOf(session.acquire(key.keyId, 1, 'boot')));
    expect(await Promise.all(waiting)).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
    server.misbehaviour.answer = undefined;
    expect(await refusalOf(session.acquire(key.keyId, 1, 'boot'))).toBe('UNAVAILABLE');
  });

  test('a session that the agent closed leaves no connection behind', async () => {
    const session = await connected();
    session.close();
    expect(await refusalOf(session.alloc(disk()))).toBe('CANCELLED');
    while (server.sessions.size > 0) await new Promise((resolve) => setImmediate(resolve));
  });
});
