import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { crypto } from '#crypto';
import { KeyService, SessionResponseSchema } from '#gen/cvmp/v1/key_pb.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { type BidiHandler, bindService } from '#server/host/handlers.js';
import { noFacts } from '../../fakes/tenants.js';
import { startTestHost, type TestHost } from './harness.js';
import { RawClient, told } from './raw-client.js';

const start = (change = {}) =>
  startTestHost(({ tenants }) => [tenantService(tenants, noFacts)], change);

function portOf(address: string): { host: string; port: number } {
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
}

/** A bare TLS client of the gRPC port. */
async function tls(t: TestHost, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({
    ...portOf(t.host.grpcAddress),
    ca: t.certificate,
    servername: 'localhost',
    ALPNProtocols: ['h2'],
    ...options,
  });
  await once(socket, 'secureConnect');
  return socket;
}

/** Resolves with the reason why the connection did not come to be or did not last. */
async function refusedBy(t: TestHost, options: ConnectionOptions): Promise<string> {
  const socket = connect({
    ...portOf(t.host.grpcAddress),
    ca: t.certificate,
    servername: 'localhost',
    ...options,
  });
  return new Promise((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('close', () => resolve('closed'));
    socket.resume();
  });
}

describe('gRPC listener: TLS (protocol.md s.6.2)', () => {
  test('TLS 1.3 with ALPN h2', async () => {
    const t = await start();
    const socket = await tls(t);
    expect([socket.getProtocol(), socket.alpnProtocol]).toEqual(['TLSv1.3', 'h2']);
    socket.destroy();
  });

  test('TLS 1.2 is refused', async () => {
    const t = await start();
    expect(await refusedBy(t, { maxVersion: 'TLSv1.2', ALPNProtocols: ['h2'] })).toMatch(
      /PROTOCOL_VERSION/,
    );
  });

  test('no ALPN, or another protocol, is refused', async () => {
    const t = await start();
    expect(await refusedBy(t, { ALPNProtocols: ['http/1.1'] })).toMatch(/NO_APPLICATION_PROTOCOL/);
    expect(await refusedBy(t, {})).toBe('closed');
  });

  test('no session is ever resumed', async () => {
    const t = await start();
    const first = await tls(t);
    const session = await Promise.race([
      once(first, 'session').then(([s]) => s as Buffer),
      once(first, 'data').then(() => first.getSession()),
    ]);
    first.destroy();
    const second = await tls(t, session === undefined ? {} : { session });
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });

  test('bytes that are no TLS, no HTTP/2, or half a handshake leave the server as it was', async () => {
    const t = await start({ grpc: { handshakeSeconds: 1 } });
    const { host, port } = portOf(t.host.grpcAddress);
    for (let i = 0; i < 30; i++) {
      const socket = connectTcp({ host, port });
      socket.on('error', () => undefined);
      socket.resume();
      socket.end(crypto.randomBytes(1 + i * 37));
      await once(socket, 'close');
    }
    const hello = connectTcp({ host, port });
    hello.on('error', () => undefined);
    hello.resume();
    hello.write(Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc));
    const helloClosed = once(hello, 'close');
    for (let i = 0; i < 30; i++) {
      const socket = await tls(t);
      socket.on('error', () => undefined);
      socket.end(crypto.randomBytes(500));
      socket.resume();
      await once(socket, 'close');
    }
    await helloClosed;
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const outcome = await client.unary('cvmp.v1.TenantService/ListTenants', new Uint8Array());
    expect(told(outcome)).toBe('UNAUTHENTICATED/TOKEN_MISSING');
  });

  test('no more connections than the limit', async () => {
    const t = await start({ grpc: { connectionsMax: 2 } });
    const sockets = [await tls(t), await tls(t)];
    expect(await refusedBy(t, { ALPNProtocols: ['h2'] })).toMatch(/closed|ECONNRESET/);
    sockets[0]!.destroy();
    await once(sockets[0]!, 'close');
    for (;;) {
      // The server notices the close a moment later.
      const socket = connect({
        ...portOf(t.host.grpcAddress),
        ca: t.certificate,
        servername: 'localhost',
        ALPNProtocols: ['h2'],
      });
      const ok = await Promise.race([
        once(socket, 'secureConnect').then(
          () => true,
          () => false,
        ),
        once(socket, 'close').then(() => false),
      ]);
      socket.destroy();
      if (ok) break;
    }
    sockets[1]!.destroy();
  });

  test('each call exports from its own connection: both ends agree, two connections differ', async () => {
    const label = 'EXPORTER-CVMP-v1';
    const context = crypto.randomBytes(32);
    const exporting: BidiHandler<never, typeof SessionResponseSchema> = (sender, call) => ({
      message() {
        const sealed = call.exportKeyingMaterial?.(label, context, 32) ?? new Uint8Array();
        sender.send(create(SessionResponseSchema, { frame: { case: 'sealed', value: sealed } }));
      },
      halfClosed: () => sender.end(),
      drained: () => undefined,
      closed: () => undefined,
    });
    const t = await startTestHost(() => [bindService(KeyService, { session: exporting as never })]);
    const ours: Buffer[] = [];
    const theirs: Buffer[] = [];
    for (let i = 0; i < 2; i++) {
      const { exported, answered } = await overOwnSocket(t, label, context);
      ours.push(exported);
      theirs.push(answered);
    }
    expect(theirs[0]).toEqual(ours[0]);
    expect(theirs[1]).toEqual(ours[1]);
    expect(ours[0]).not.toEqual(ours[1]);
  });
});

/** One message on a stream of a connection whose socket we hold. */
async function overOwnSocket(t: TestHost, label: string, context: Uint8Array) {
  const http2 = await import('node:http2');
  const socket = await tls(t);
  const session = http2.connect('https://localhost', { createConnection: () => socket });
  const stream = session.request({
    ':method': 'POST',
    ':path': '/cvmp.v1.KeyService/Session',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  // gRPC frame of SessionRequest{client_init: 00}
  stream.end(Uint8Array.of(0, 0, 0, 0, 3, 0x0a, 1, 0));
  const chunks: Buffer[] = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  await once(stream, 'end');
  const exported = socket.exportKeyingMaterial(32, label, Buffer.from(context));
  session.destroy();
  return { exported, answered: Buffer.concat(chunks).subarray(5 + 2) };
}
