import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { cors } from '@connectrpc/connect';
import type { Logger } from 'pino';
import type { Calls } from '../calls.js';
import { flushMilliseconds, type Listener } from '../grpc/listener.js';
import type { BoundService } from '../handlers.js';
import { logField } from '../log.js';
import { type HealthAnswer, healthAnswer } from '../observe/health.js';
import type { Readiness } from '../observe/readiness.js';
import {
  askCertificate,
  closed,
  type Endpoint,
  endpointText,
  listen,
  type TlsIdentity,
} from '../tls.js';
import { createRoutes, type WebRequest, type WebResponse } from './routes.js';

/** Every limit is finite. */
export interface WebLimits {
  readonly connectionsMax: number;
  readonly streamsPerConnectionMax: number;
  readonly messageBytesMax: number;
  readonly handshakeSeconds: number;
  readonly idleSeconds: number;
  /** Longest timeout that a client may ask for. */
  readonly timeoutSecondsMax: number;
}

export interface WebListenerOptions {
  readonly endpoint: Endpoint;
  readonly tls: TlsIdentity;
  /** Ask for a client certificate, and take connections without one. */
  readonly asksCertificate: boolean;
  readonly limits: WebLimits;
  /** Origins ("https://console.example") whose pages may call; no wildcard. */
  readonly origins: readonly string[];
  readonly services: readonly BoundService[];
  readonly calls: Calls;
  readonly readiness: Readiness;
  readonly log: Logger;
  /** A TLS handshake came to nothing. */
  readonly handshakeFailed?: () => void;
}

/**
 * The web port: the same services over Connect, gRPC-web and gRPC, HTTP/1.1 and h2, for browsers
 * and plain HTTP clients.
 */
export async function listenWeb(options: WebListenerOptions): Promise<Listener> {
  const { limits } = options;
  const rpc = createRoutes(options.services, options.calls, limits);
  let allowed = new Set(options.origins);
  const server = createSecureServer(
    {
      ...secureContext(options.tls),
      ...askCertificate(options.asksCertificate),
      allowHTTP1: true,
      handshakeTimeout: limits.handshakeSeconds * 1000,
      settings: { maxConcurrentStreams: limits.streamsPerConnectionMax },
    },
    (request: WebRequest, response: WebResponse) => {
      if (!crossOrigin(request, response, allowed)) return;
      const health = healthAnswer(request.url ?? '', options.readiness);
      if (health !== undefined) answerHealth(response, health);
      else if (!rpc(request, response)) {
        response.writeHead(404);
        response.end();
      }
    },
  );
  server.maxConnections = limits.connectionsMax;
  server.setTimeout(limits.idleSeconds * 1000);
  const sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
    session.on('close', () => sessions.delete(session));
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
    connections: () => sockets.size,
    apply: (tls, { limits: { connectionsMax }, origins = [] }) => {
      server.setSecureContext(secureContext(tls));
      server.maxConnections = connectionsMax;
      allowed = new Set(origins);
    },
    drain: () => {
      server.close();
      for (const session of sessions) session.close();
    },
    close: async () => {
      await closed(server, flushMilliseconds);
      for (const session of sessions) session.destroy();
      for (const socket of sockets) socket.destroy();
      await closed(server);
    },
  };
}

function secureContext({ key, certificate }: TlsIdentity) {
  return { key, cert: certificate, minVersion: 'TLSv1.3' } as const;
}

function answerHealth(response: WebResponse, { status, body }: HealthAnswer): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(body);
}

/**
 * CORS for named origins. A request that names another origin is refused outright: a browser would
 * hide the answer from the page, but the call would have been made.
 * @returns false where the request is answered already
 */
function crossOrigin(
  request: WebRequest,
  response: WebResponse,
  allowed: ReadonlySet<string>,
): boolean {
  const origin = request.headers.origin;
  if (origin === undefined) return true;
  response.setHeader('vary', 'Origin');
  if (!allowed.has(origin) && !sameOrigin(request, origin)) {
    response.writeHead(403, { 'content-type': 'text/plain' });
    response.end('this origin may not call\n');
    return false;
  }
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('access-control-expose-headers', cors.exposedHeaders.join(', '));
  if (request.method !== 'OPTIONS') return true;
  response.setHeader('access-control-allow-methods', cors.allowedMethods.join(', '));
  response.setHeader(
    'access-control-allow-headers',
    [...cors.allowedHeaders, 'Authorization', 'Cvmp-Tenant'].join(', '),
  );
  response.setHeader('access-control-max-age', '7200');
  response.writeHead(204);
  response.end();
  return false;
}

/** A page that this server itself served. */
function sameOrigin(request: WebRequest, origin: string): boolean {
  const authority = request.headers[':authority'] ?? request.headers.host;
  return origin === `https://${authority}`;
}
