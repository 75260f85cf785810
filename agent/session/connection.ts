import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { CvmpError } from '#core/errors.js';
import { frameBytesMax } from '#core/session/messages.js';
import { KeyService } from '#gen/cvmp/v1/key_pb.js';
import type { AgentConfig } from '../config.js';

/** One TLS connection to the Key Server; it carries one session and is never made again. */
export interface Connection {
  readonly service: Client<typeof KeyService>;
  /** TLS exporter of this very connection (RFC 8446 s.7.5). */
  exportKeyingMaterial(label: string, context: Uint8Array, length: number): Uint8Array;
  close(): void;
}

const connectMs = 15_000;
/** A Key Server that is gone without a word is noticed while the session is held. */
const pingIntervalMs = 60_000;
const pingTimeoutMs = 20_000;
const frameOverhead = 64;

/**
 * Connects by TLS 1.3. Without a CA the certificate says nothing and is not asked: the session
 * identifies the server by the signature of its Challenge and is bound to this connection.
 * @param ca PEM
 * @throws CvmpError UNAVAILABLE, SERVER_UNTRUSTED
 */
export async function openConnection(
  server: AgentConfig['keyServer'],
  ca: string | undefined,
): Promise<Connection> {
  const socket = await connectTls(server, ca);
  const { host, port } = server;
  const baseUrl = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  let given = false;
  const manager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs, pingTimeoutMs },
    {
      createConnection: () => {
        if (given) throw new CvmpError('UNAVAILABLE', 'the connection is lost');
        given = true;
        return socket;
      },
    },
  );
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager: manager,
    readMaxBytes: frameBytesMax.sealedToAgent + frameOverhead,
    acceptCompression: [],
  });
  return {
    service: createClient(KeyService, transport),
    exportKeyingMaterial: (label, context, length) =>
      new Uint8Array(socket.exportKeyingMaterial(length, label, Buffer.from(context))),
    close: () => {
      manager.abort();
      socket.destroy();
    },
  };
}

function connectTls(server: AgentConfig['keyServer'], ca: string | undefined): Promise<TLSSocket> {
  const { host, port } = server;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      rejectUnauthorized: ca !== undefined,
      ...(ca === undefined ? {} : { ca }),
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    const fail = (error: CvmpError) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(connectMs, () =>
      fail(new CvmpError('UNAVAILABLE', `no answer within ${connectMs} ms`)),
    );
    socket.once('error', (cause) => fail(connectError(cause)));
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol !== 'h2') {
        fail(new CvmpError('SERVER_UNTRUSTED', 'the peer does not speak HTTP/2'));
        return;
      }
      socket.setTimeout(0);
      resolve(socket);
    });
  });
}

/** Errno names mean that there is no connection; all else, that TLS refused the peer. */
function connectError(cause: NodeJS.ErrnoException): CvmpError {
  const gone = /^(E[A-Z0-9]+|EAI_[A-Z]+)$/.test(cause.code ?? '');
  const code = gone ? 'UNAVAILABLE' : 'SERVER_UNTRUSTED';
  return new CvmpError(code, cause.message, { cause });
}
