import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import type { Calls } from '../calls.js';
import type { BoundService } from '../handlers.js';
import { logField } from '../log.js';
import {
  askCertificate,
  closed,
  type Endpoint,
  endpointText,
  listen,
  type TlsIdentity,
} from '../tls.js';
import { implementation, serviceDefinition } from './adapter.js';
import { type ConnectionOf, createAdmission } from './admission.js';
import { RateByAddress } from './rate.js';
import { createReflection } from './reflection.js';

/** Every limit is finite. */
export interface GrpcLimits {
  readonly connectionsMax: number;
  readonly streamsPerConnectionMax: number;
  readonly messageBytesMax: number;
  /** For the TLS handshake. */
  readonly handshakeSeconds: number;
  /** TLS handshakes, and calls without a token, of one peer address. */
  readonly handshakesPerMinuteMax: number;
  /** A connection without calls is closed after this. */
  readonly idleSeconds: number;
  /** How often a silent peer is pinged, and how long it has to answer. */
  readonly keepaliveSeconds: number;
  readonly keepaliveTimeoutSeconds: number;
}

export interface GrpcListenerOptions {
  readonly endpoint: Endpoint;
  readonly tls: TlsIdentity;
  /** Ask for a client certificate, and take connections without one. */
  readonly asksCertificate: boolean;
  readonly limits: GrpcLimits;
  readonly services: readonly BoundService[];
  readonly calls: Calls;
  readonly health: HealthImplementation;
  readonly log: Logger;
  /** A TLS handshake came to nothing. */
  readonly handshakeFailed?: () => void;
}

/** What of a listener's options can change while it runs. */
export interface LiveListenerOptions {
  readonly limits: Pick<GrpcLimits, 'connectionsMax'> &
    Partial<Pick<GrpcLimits, 'handshakesPerMinuteMax'>>;
  readonly origins?: readonly string[];
}

/** Peer addresses whose rate is remembered: some 10 MB. */
const addressesMax = 100_000;

/** How long an answer may take to leave. */
export const flushMilliseconds = 1000;

export interface Listener {
  /** Where it listens in fact, "host:port". */
  readonly address: string;
  /** Connections that are open now. */
  connections(): number;
  /** What new connections see from now on. */
  apply(tls: TlsIdentity, options: LiveListenerOptions): void;
  /** Takes no more connections and calls; streams that are open go on. */
  drain(): void;
  /** Lets what was answered reach its peers, but not for long; then cuts whatever is left. */
  close(): Promise<void>;
}

/**
 * The gRPC port: our own TLS listener (TLS 1.3, ALPN h2, no session resumption) in front of
 * grpc-js, because a session is bound to the TLS exporter of its own connection, which grpc-js's
 * listener does not give. A call finds its connection by the peer's address and port, which no two
 * connections to one port share while both live.
 */
export async function listenGrpc(options: GrpcListenerOptions): Promise<Listener> {
  const sockets = new Map<string, TLSSocket>();
  const rates = { addressesMax, perMinuteMax: options.limits.handshakesPerMinuteMax };
  const newRate = () => new RateByAddress(rates, options.calls.options.now);
  const grpc = createGrpcServer(options, newRate(), (peer) => {
    const socket = sockets.get(peer);
    if (socket === undefined) return undefined;
    return {
      exportKeyingMaterial: (label, context, length) =>
        new Uint8Array(socket.exportKeyingMaterial(length, label, Buffer.from(context))),
      certificate: () => socket.getPeerX509Certificate(),
    };
  });
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const server = createServer({
    ...secureContext(options.tls),
    ...askCertificate(options.asksCertificate),
    ALPNProtocols: ['h2'],
    handshakeTimeout: options.limits.handshakeSeconds * 1000,
  });
  server.maxConnections = options.limits.connectionsMax;
  const connections = new Set<Socket>();
  const handshakes = newRate();
  server.on('connection', (connection: Socket) => {
    // Before the handshake, which costs this end more than the other.
    if (!handshakes.take(String(connection.remoteAddress))) {
      connection.destroy();
      return;
    }
    connections.add(connection);
    connection.on('close', () => connections.delete(connection));
  });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => undefined);
    if (socket.alpnProtocol !== 'h2') {
      socket.destroy();
      return;
    }
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    sockets.set(peer, socket);
    socket.on('close', () => {
      if (sockets.get(peer) === socket) sockets.delete(peer);
    });
    injector.injectConnection(socket);
  });
  server.on('tlsClientError', (error, socket) => {
    options.handshakeFailed?.();
    options.log.debug({ [logField.reason]: error.message }, 'tls handshake failed');
    // Node leaves a socket whose handshake timed out to us.
    socket.destroy();
  });
  const port = await listen(server, options.endpoint);
  return {
    address: endpointText({ host: options.endpoint.host, port }),
    connections: () => connections.size,
    apply: (tls, { limits }) => {
      server.setSecureContext(secureContext(tls));
      server.maxConnections = limits.connectionsMax;
      rates.perMinuteMax = limits.handshakesPerMinuteMax ?? rates.perMinuteMax;
    },
    drain: () => {
      server.close();
      injector.drain(60_000);
    },
    close: async () => {
      await closed(server, flushMilliseconds);
      grpc.forceShutdown();
      for (const connection of connections) connection.destroy();
      await closed(server);
    },
  };
}

/** A session that was resumed would not have this connection's own handshake behind it. */
function secureContext({ key, certificate }: TlsIdentity) {
  const secureOptions = constants.SSL_OP_NO_TICKET;
  return { key, cert: certificate, minVersion: 'TLSv1.3', secureOptions } as const;
}

function createGrpcServer(
  options: GrpcListenerOptions,
  handshakes: RateByAddress,
  connectionOf: ConnectionOf,
): Server {
  const { limits } = options;
  const { interceptor, callOf } = createAdmission(options.calls, connectionOf, handshakes);
  const server = new Server({
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': limits.messageBytesMax,
    'grpc.max_send_message_length': limits.messageBytesMax,
    'grpc.max_concurrent_streams': limits.streamsPerConnectionMax,
    'grpc.max_connection_idle_ms': limits.idleSeconds * 1000,
    'grpc.keepalive_time_ms': limits.keepaliveSeconds * 1000,
    'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutSeconds * 1000,
    interceptors: [interceptor],
  });
  for (const bound of options.services) {
    server.addService(serviceDefinition(bound), implementation(bound, callOf));
  }
  options.health.addToServer(server);
  createReflection(options.services.map((bound) => bound.service)).addToServer(server);
  return server;
}
