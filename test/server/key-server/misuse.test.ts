import { once } from 'node:events';
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, onTestFinished, test } from 'vitest';
import { crypto } from '#crypto';
import { selfSigned } from '#server/host/self-signed.js';
import { GrpcStream } from '../../fakes/grpc-stream.js';
import { RawAgent, refusedWith, sessionFrame, sessionPath } from '../../fakes/raw-agent.js';
import { startKeyServer, type TestKeyServer } from './harness.js';

const alloc = { case: 'keyAlloc' as const, value: {} };

const open = (s: TestKeyServer) =>
  GrpcStream.open(s.t.host.grpcAddress, sessionPath, s.t.certificate);

/** What an honest agent gets after all that. */
async function stillServes(s: TestKeyServer): Promise<void> {
  const agent = await s.agent(await s.launch());
  await agent.attest();
  expect((await agent.ask(alloc)).case).toBe('keyAlloc');
  agent.close();
}

async function keysOf(s: TestKeyServer): Promise<number> {
  const { items } = await s.state.keys.list('acme', { pageSize: 1000, pageToken: '' });
  return items.length;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('order and freshness of the handshake (protocol.md s.6.2, s.6.6)', () => {
  test('evidence of another session, word for word, is refused: BINDING_MISMATCH', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const launched = await s.launch();
    const victim = await s.agent(launched);
    const captured = await victim.evidenceFor(await victim.challenge());
    const thief = await s.agent(launched);
    await thief.challenge();
    thief.send('evidence', captured);
    expect((await thief.stream.end()).code).toBe('BINDING_MISMATCH');
    expect(await keysOf(s)).toBe(0);
  });

  test('the same evidence twice on one stream is refused', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    const evidence = await agent.evidenceFor(await agent.challenge());
    agent.send('evidence', evidence);
    agent.send('evidence', evidence);
    expect((await agent.stream.end()).code).toBe('PROTOCOL_ORDER');
  });

  test('evidence after the end of its challenge is refused: NONCE_EXPIRED', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    const reportData = await agent.challenge();
    s.place.now += 61_000;
    agent.send('evidence', await agent.evidenceFor(reportData));
    expect((await agent.stream.end()).code).toBe('NONCE_EXPIRED');
  });

  test.each([
    ['evidence first', 'evidence'],
    ['a sealed frame first', 'sealed'],
  ] as const)('%s is refused', async (_what, kind) => {
    const s = await startKeyServer();
    const stream = await open(s);
    stream.send(sessionFrame(kind, crypto.randomBytes(100)));
    expect((await stream.end()).code).toBe('PROTOCOL_ORDER');
    stream.close();
  });

  test('a second handshake beside one that goes on is refused', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    for (const point of ['begun', 'challenged'] as const) {
      const agent = await s.agent(await s.launch());
      const init = agent.session.clientInit();
      agent.send('clientInit', init);
      if (point !== 'begun') await agent.session.challenge(await agent.frame('challenge'));
      agent.send('clientInit', init);
      expect((await agent.stream.end()).code).toBe('PROTOCOL_ORDER');
    }
    expect(await keysOf(s)).toBe(0);
  });

  test('a handshake that stops is ended by the server', async () => {
    const s = await startKeyServer({ handshakeSeconds: 0.2 });
    const silent = await open(s);
    const half = await s.agent(await s.launch());
    await half.challenge();
    expect((await silent.end()).code).toBe('DEADLINE');
    expect((await half.stream.end()).code).toBe('DEADLINE');
    silent.close();
  });

  test('an attested session without requests is ended some time after its lease', async () => {
    const s = await startKeyServer({ idleSeconds: 0.2 });
    await s.setPolicy({ keyRules: { leaseSeconds: 1 } });
    const agent = await s.agent(await s.launch());
    await agent.attest();
    expect((await agent.stream.end()).code).toBe('DEADLINE');
  });

  test('no more sessions than the limit; a closed one makes room', async () => {
    const s = await startKeyServer({ sessionsMax: 1 });
    await s.setPolicy();
    const first = await s.agent(await s.launch());
    await first.challenge();
    const second = await s.agent(await s.launch());
    expect(await refusedWith(second.challenge())).toBe('RATE');
    first.close();
    await until(() => s.t.records.length === 2);
    await stillServes(s);
  });
});

describe('sealed requests', () => {
  test.each([
    [
      'a flipped byte',
      (frame: Uint8Array) => frame.map((x, i) => (i === frame.length - 1 ? x ^ 1 : x)),
    ],
    ['random bytes', () => crypto.randomBytes(200)],
  ])('%s ends the stream', async (_what, change) => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    agent.send('sealed', change(agent.session.seal(new Uint8Array(40))));
    expect((await agent.stream.end()).code).toMatch(/^(SEQUENCE|MALFORMED|NOT_CANONICAL)$/);
  });

  test('a frame again, or one left out, ends the stream: SEQUENCE', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    for (const mode of ['again', 'gap'] as const) {
      const agent = await s.agent(await s.launch());
      await agent.attest();
      const frame = agent.session.seal(new Uint8Array());
      if (mode === 'gap') agent.send('sealed', agent.session.seal(new Uint8Array()));
      else {
        agent.request(alloc);
        agent.send('sealed', frame);
      }
      const end = await agent.stream.end();
      expect(end.code).toMatch(/^(SEQUENCE|INVALID_FIELD)$/);
    }
  });

  test('a request that breaks a rule of proto/ is answered by name, and the session goes on', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    const short = { case: 'keyAcquire', value: { keyId: new Uint8Array(15) } } as const;
    const refused = await agent.ask(short);
    expect(refused).toMatchObject({
      case: 'error',
      value: { code: 'INVALID_FIELD', field: 'key_acquire.key_id' },
    });
    expect((await agent.ask(alloc)).case).toBe('keyAlloc');
  });

  test('pipelined requests are answered by id; beyond the limit IN_FLIGHT, the session goes on', async () => {
    const s = await startKeyServer({ inFlightMax: 4 });
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    const ids = Array.from({ length: 12 }, () => Buffer.from(agent.request(alloc)).toString('hex'));
    const codes = new Map<string, string>();
    for (const _ of ids) {
      const { requestId, response } = await agent.receive();
      const code = response.case === 'error' ? response.value.code : 'OK';
      codes.set(Buffer.from(requestId).toString('hex'), code);
    }
    expect([...codes.keys()].sort()).toEqual([...ids].sort());
    const granted = [...codes.values()].filter((code) => code === 'OK').length;
    expect(granted).toBeGreaterThanOrEqual(4);
    expect([...codes.values()].every((code) => ['OK', 'IN_FLIGHT'].includes(code))).toBe(true);
    expect(await keysOf(s)).toBe(granted);
    expect((await agent.ask(alloc)).case).toBe('keyAlloc');
  });

  test('an agent that says goodbye gets its outstanding answers first', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    for (let i = 0; i < 3; i++) agent.request(alloc);
    agent.stream.halfClose();
    for (let i = 0; i < 3; i++) expect((await agent.receive()).response.case).toBe('keyAlloc');
    expect((await agent.stream.end()).status).toBe(0);
  });
});

describe('a relay between agent and server (protocol.md s.6.6)', () => {
  test('a machine in the middle that terminates TLS on both legs is refused: BINDING_MISMATCH', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const relay = await tlsRelay(s.t.host.grpcAddress, s.t.certificate);
    const agent = await RawAgent.connect({
      ...(await s.launch()),
      address: relay.address,
      ca: relay.certificate,
    });
    onTestFinished(() => agent.close());
    // The challenge is genuine and comes through; the evidence is over the wrong connection.
    expect(await refusedWith(agent.attest())).toBe('BINDING_MISMATCH');
    expect(await keysOf(s)).toBe(0);
  });
});

/** Two TLS legs with plaintext in between, as a hostile host would put it into the guest's way. */
async function tlsRelay(target: string, ca: string) {
  const own = await selfSigned(['localhost'], Date.now());
  const [host = '', port] = target.split(':');
  const sockets: TLSSocket[] = [];
  const server = createServer(
    { key: own.key, cert: own.certificate, ALPNProtocols: ['h2'] },
    (inner) => {
      const outer = connectTls({
        host,
        port: Number(port),
        ca,
        servername: 'localhost',
        ALPNProtocols: ['h2'],
      });
      for (const socket of [inner, outer]) socket.on('error', () => undefined);
      sockets.push(inner, outer);
      inner.pipe(outer).pipe(inner);
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no address');
  return { address: `127.0.0.1:${address.port}`, certificate: own.certificate };
}

describe('peers that mean no good leave nothing behind', () => {
  test('agents that vanish at every point of the handshake', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    for (const point of [0, 1, 2, 3, 4]) {
      const agent = await s.agent(await s.launch());
      if (point >= 1) agent.send('clientInit', agent.session.clientInit());
      if (point >= 2) {
        const { reportData } = await agent.session.challenge(await agent.frame('challenge'));
        if (point >= 3) agent.send('evidence', await agent.evidenceFor(reportData));
      }
      if (point >= 4) {
        await agent.session.accept(await agent.frame('accept'));
        await agent.receive();
        agent.request(alloc);
      }
      agent.stream.vanish();
    }
    // The first two may have left before the server saw their call.
    await until(() => s.t.records.length >= 3);
    await stillServes(s);
  });

  test('10,000 random frames: coded errors, nothing stored, no handle and no memory kept', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    await stillServes(s);
    const before = await keysOf(s);
    // Warm: whatever is cached once is cached now.
    await randomFrames(s, 1000);
    const handles = await settledHandles();
    const memory = heapUsed();
    await randomFrames(s, 9000);
    expect(await settledHandles()).toBeLessThanOrEqual(handles + 2);
    s.t.log.length = 0;
    s.t.records.length = 0;
    expect(heapUsed() - memory).toBeLessThan(4 * 1024 * 1024);
    expect(await keysOf(s)).toBe(before);
    await stillServes(s);
  }, 240_000);
});

/** Frames of many kinds, each on a stream of its own until the stream ends; ten streams a connection. */
async function randomFrames(s: TestKeyServer, count: number): Promise<void> {
  for (let sent = 0; sent < count; ) {
    const first = await open(s);
    for (let i = 0; i < 20; i++) {
      const stream = i === 0 ? first : first.another(sessionPath);
      const end = stream.end();
      for (let j = 0; j < 5; j++, sent++) stream.send(randomFrame());
      expect((await end).code).toMatch(
        /^(PROTOCOL_ORDER|MALFORMED|INVALID_FIELD|SIZE|VERSION|SUITE|UNSUPPORTED_EVIDENCE|UNKNOWN_CRITICAL)$/,
      );
    }
    first.close();
    await once(first.socket, 'close');
  }
}

function randomFrame(): Uint8Array {
  const [kind = 0, length = 0, mode = 0] = crypto.randomBytes(3);
  const body = crypto.randomBytes(1 + length);
  if (mode % 4 === 0) return body;
  const kinds = ['clientInit', 'evidence', 'sealed'] as const;
  return sessionFrame(kinds[kind % 3]!, mode % 4 === 1 ? body : nearlyClientInit(body));
}

/** ClientInit{versions: [1], suites: [..], nonce_a: 32 random bytes, profiles} with noise. */
function nearlyClientInit(noise: Uint8Array): Uint8Array {
  const bytes = Uint8Array.of(0x0a, 1, 1, 0x12, 1, 1, 0x1a, 32, ...crypto.randomBytes(32));
  bytes[noise[0]! % bytes.length]! ^= noise.at(-1)!;
  return bytes;
}

async function settledHandles(): Promise<number> {
  let last = -1;
  for (let same = 0; same < 50; ) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = process.getActiveResourcesInfo().filter((name) => name !== 'Immediate').length;
    same = now === last ? same + 1 : 0;
    last = now;
  }
  return last;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}
