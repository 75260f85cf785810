import { readFileSync } from 'node:fs';
import { createServer } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { KeyService, SessionResponseSchema } from '#gen/cvmp/v1/key_pb.js';
import { Calls } from '#server/host/calls.js';
import { listenGrpc } from '#server/host/grpc/listener.js';
import { type BoundService, bindService } from '#server/host/handlers.js';
import { createLog } from '#server/host/log.js';
import { listen, type TlsIdentity } from '#server/host/tls.js';

// Two echoes on two ports, of the same bidirectional method over the same TLS: the bytes alone, by
// nothing but grpc-js; and through server/host, which reads and validates the message around them.
// Arguments: certificate file, key file.

const loopback = { host: '127.0.0.1', port: 0 };
const path = '/cvmp.v1.KeyService/Session';

async function bareEcho({ certificate, key }: TlsIdentity): Promise<string> {
  const same = (bytes: Buffer) => bytes;
  const session = {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  const grpc = new Server({ 'grpc.enable_channelz': 0 });
  grpc.addService(
    { session },
    {
      session: (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (bytes: Buffer) => call.write(bytes));
        call.on('end', () => call.end());
      },
    },
  );
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const server = createServer(
    { key, cert: certificate, minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] },
    (socket) => injector.injectConnection(socket),
  );
  return `127.0.0.1:${await listen(server, loopback)}`;
}

function echoService(): BoundService {
  return bindService(KeyService, {
    session: (sender) => ({
      message: ({ frame }) => {
        const value = frame.value ?? new Uint8Array();
        sender.send(create(SessionResponseSchema, { frame: { case: 'sealed', value } }));
      },
      halfClosed: () => sender.end(),
      drained: () => undefined,
      closed: () => undefined,
    }),
  });
}

async function hostEcho(tls: TlsIdentity): Promise<string> {
  const authenticate = () => Promise.resolve({ role: 'anonymous' } as const);
  const { address } = await listenGrpc({
    endpoint: loopback,
    tls,
    asksCertificate: false,
    limits: {
      connectionsMax: 64,
      streamsPerConnectionMax: 64,
      messageBytesMax: 1 << 20,
      handshakeSeconds: 10,
      handshakesPerMinuteMax: 1_000_000,
      idleSeconds: 600,
      keepaliveSeconds: 60,
      keepaliveTimeoutSeconds: 20,
    },
    services: [echoService()],
    calls: new Calls({ log, authenticate, now: Date.now, unaryMillisecondsMax: () => 1000 }),
    health: new HealthImplementation(),
    log,
  });
  return address;
}

const [certificateFile = '', keyFile = ''] = process.argv.slice(2);
const log = createLog('echo', 'info');
const tls = {
  certificate: readFileSync(certificateFile, 'utf8'),
  key: readFileSync(keyFile, 'utf8'),
};
for (const address of [await bareEcho(tls), await hostEcho(tls)]) log.info({ address }, 'echo');
