import { once } from 'node:events';
import { connect } from 'node:tls';
import type { ServiceError } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { KeyService } from '#gen/cvmp/v1/key_pb.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { bindService } from '#server/host/handlers.js';
import { bearer } from '../../fakes/callers.js';
import { noFacts } from '../../fakes/tenants.js';
import { audience, startTestHost, type TestHost } from './harness.js';
import { outcome, RawClient, told } from './raw-client.js';

const session = 'cvmp.v1.KeyService/Session';
const list = 'cvmp.v1.TenantService/ListTenants';

const start = (handshakesPerMinuteMax: number) =>
  startTestHost(
    ({ tenants }) => [
      tenantService(tenants, noFacts),
      bindService(KeyService, {
        session: (sender) => ({
          message: () => sender.end(),
          halfClosed: () => sender.end(),
          drained: () => undefined,
          closed: () => undefined,
        }),
      }),
    ],
    { grpc: { handshakesPerMinuteMax } },
  );

async function handshake(t: TestHost): Promise<string> {
  const [host = '', port] = t.host.grpcAddress.split(':');
  const socket = connect({
    host,
    port: Number(port),
    ca: t.certificate,
    servername: 'localhost',
    ALPNProtocols: ['h2'],
  });
  const end = Promise.race([
    once(socket, 'secureConnect').then(() => 'done'),
    once(socket, 'close').then(() => 'closed'),
  ]).catch(() => 'closed');
  const result = await end;
  socket.destroy();
  return result;
}

function open(client: RawClient): Promise<string> {
  const stream = client.bidi(session);
  return new Promise((resolve) => {
    stream.on('error', (error: ServiceError) => resolve(told(outcome(error))));
    stream.on('end', () => resolve('OK'));
    stream.resume();
    stream.end();
  });
}

describe('handshakes of one peer address (protocol.md s.6.5: RATE)', () => {
  test('TLS handshakes beyond the rate are not even begun', async () => {
    const t = await start(3);
    const results = [];
    for (let i = 0; i < 5; i++) results.push(await handshake(t));
    expect(results).toEqual(['done', 'done', 'done', 'closed', 'closed']);
  });

  test('sessions beyond the rate are refused with a code, on one connection too', async () => {
    const t = await start(3);
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const results = [];
    for (let i = 0; i < 4; i++) results.push(await open(client));
    expect(results).toEqual(['OK', 'OK', 'OK', 'RESOURCE_EXHAUSTED/RATE']);
  });

  test('calls with a token are not counted', async () => {
    const t = await start(1);
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    const authorization = await bearer(t.operator, audience, Date.now());
    for (let i = 0; i < 3; i++) {
      expect(await client.unary(list, new Uint8Array(), authorization)).toMatchObject({ code: 0 });
    }
  });
});
