import { lstatSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import { demandAccess } from './callers/access.js';
import { Calls } from './calls.js';
import { flushMilliseconds } from './grpc/listener.js';
import type { BoundService } from './handlers.js';
import { logField } from './log.js';
import { closed } from './tls.js';
import { createRoutes } from './web/routes.js';

export interface LocalSocketOptions {
  /** Absolute path of the socket. */
  readonly path: string;
  /** Methods that the table of access gives to `local`, and no others. */
  readonly services: readonly BoundService[];
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long a unary call may take; streams take as long as they take. */
  readonly unarySecondsMax: number;
}

export interface LocalSocket {
  /** Takes no more calls, aborts those under way, waits for them, removes the socket. */
  close(): Promise<void>;
}

/** sun_path of Linux, with its final zero. */
const pathBytesMax = 107;
const connectionsMax = 16;
const limits = { messageBytesMax: 2 * 1024 * 1024, timeoutSecondsMax: 86_400 };

/**
 * Serves methods for whoever operates this machine, over Connect (HTTP/1.1) on a Unix socket of mode
 * 0600: the file system says who may call, so no token is asked. Errors, log lines and deadlines are
 * those of the ports.
 * @throws CvmpError CONFIG where the socket cannot be; TypeError as demandAccess
 */
export async function listenLocal(options: LocalSocketOptions): Promise<LocalSocket> {
  const { path, services, log, now } = options;
  demandAccess(
    services.map((bound) => bound.service),
    'socket',
  );
  const calls = new Calls({
    log,
    authenticate: async () => ({ role: 'local' }),
    now,
    unaryMillisecondsMax: () => options.unarySecondsMax * 1000,
  });
  const rpc = createRoutes(services, calls, limits);
  const server = createServer((request, response) => {
    if (!rpc(request, response)) {
      response.writeHead(404);
      response.end();
    }
  });
  server.maxConnections = connectionsMax;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await removeStale(path);
  await listen(server, path);
  log.info({ [logField.address]: path }, 'operator socket open');
  return {
    async close() {
      server.close();
      calls.drain();
      calls.abort();
      await calls.idle();
      server.closeIdleConnections();
      await closed(server, flushMilliseconds);
      for (const socket of sockets) socket.destroy();
      await closed(server);
    },
  };
}

/** A server that was killed leaves its socket behind. @throws CvmpError CONFIG */
async function removeStale(path: string): Promise<void> {
  if (Buffer.byteLength(path) > pathBytesMax) {
    const what = `operator_socket.path is longer than the ${pathBytesMax} bytes of a socket's name`;
    throw new CvmpError('CONFIG', what, { field: 'operator_socket.path' });
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw taken(path, 'is not a socket');
  if (await answers(path)) throw taken(path, 'is served by another process');
  unlinkSync(path);
}

function taken(path: string, why: string): CvmpError {
  const field = 'operator_socket.path';
  return new CvmpError('CONFIG', `${field}: ${path} ${why}`, { field });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (is: boolean) => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const field = 'operator_socket.path';
      const what = `${field}: cannot listen on ${path}: ${cause.message}`;
      reject(new CvmpError('CONFIG', what, { cause, field }));
    });
    // Bound within this call: no moment in which others could open it.
    const before = process.umask(0o177);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(before);
    }
  });
}
