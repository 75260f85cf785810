import {
  connect as connectHttp2,
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
} from 'node:http2';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { selfSigned } from '#server/host/self-signed.js';

/** Something between a CVM and its Key Server. */
export interface Relay {
  /** `host:port` where it listens. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * A man in the middle: ends the agent's TLS connection with a certificate of its own, opens another
 * to the Key Server, and passes every frame on unchanged, reading along.
 */
export async function relayInTheMiddle(keyServer: string): Promise<Relay> {
  const { certificate, key } = await selfSigned(['127.0.0.1'], Date.now());
  const upstream = connectHttp2(`https://${keyServer}`, { rejectUnauthorized: false });
  upstream.on('error', () => undefined);
  const server = createSecureServer({ cert: certificate, key, minVersion: 'TLSv1.3' });
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
  });
  server.on('stream', (stream, headers) => {
    const onward = upstream.request(headers);
    stream.on('error', () => onward.close());
    onward.on('error', () => stream.close());
    onward.on('response', (answer) => {
      if (!stream.headersSent) stream.respond(answer, { waitForTrailers: true });
    });
    let trailers = {};
    onward.on('trailers', (found) => {
      trailers = found;
    });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.pipe(onward);
    onward.pipe(stream);
  });
  const port = await listening(server);
  return {
    address: `127.0.0.1:${port}`,
    close: async () => {
      upstream.destroy();
      for (const session of sessions) session.destroy();
      await closed(server);
    },
  };
}

/** An honest forwarder: passes bytes on without opening TLS. */
export async function forwarder(keyServer: string): Promise<Relay> {
  const [host, port] = keyServer.split(':');
  const open = new Set<Socket>();
  const server = createServer((inward) => {
    const onward = connect(Number(port), host);
    for (const socket of [inward, onward]) {
      open.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => open.delete(socket));
    }
    inward.pipe(onward);
    onward.pipe(inward);
  });
  const listens = await listening(server);
  return {
    address: `127.0.0.1:${listens}`,
    close: () => {
      for (const socket of open) socket.destroy();
      return closed(server);
    },
  };
}

function listening(server: Server | Http2SecureServer): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
}

function closed(server: Server | Http2SecureServer): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
