import { createServer, type Server, type Socket } from 'node:net';
import {
  decodeTsmRequest,
  encodeTsmResponse,
  TsmFrames,
  type TsmRequest,
  type TsmResponse,
} from '#wire/tsm.js';
import { type SimulatedTsm, TsmError } from './tsm.js';

/** A running {@link serveTsm}. */
export interface TsmServer {
  /** Ends all connections and removes the socket. */
  close(): Promise<void>;
}

/**
 * Serves the file operations of one CVM's configfs-tsm on a unix socket (wire/tsm.ts), to a Key Agent
 * that runs in a process of its own. Folders that a connection leaves behind go with it.
 */
export async function serveTsm(tsm: SimulatedTsm, socketPath: string): Promise<TsmServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serveConnection(tsm, socket);
  });
  await listen(server, socketPath);
  return {
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Requests are answered in their order; what is none ends the connection. */
function serveConnection(tsm: SimulatedTsm, socket: Socket): void {
  const frames = new TsmFrames();
  const folders = new Set<string>();
  let last: Promise<void> = Promise.resolve();
  const answer = async (body: Uint8Array): Promise<void> => {
    const request = decodeTsmRequest(body);
    const response = await perform(tsm, request);
    if (!('errno' in response)) {
      if (request.operation === 'mkdir') folders.add(request.path);
      if (request.operation === 'rmdir') folders.delete(request.path);
    }
    if (!socket.destroyed) socket.write(encodeTsmResponse(response));
  };
  socket.on('data', (chunk) => {
    try {
      for (const body of frames.push(chunk)) {
        last = last.then(() => answer(body)).catch(() => void socket.destroy());
      }
    } catch {
      socket.destroy();
    }
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    last = last.then(async () => {
      for (const folder of folders) await tsm.rmdir(folder).catch(() => {});
    });
  });
}

async function perform(tsm: SimulatedTsm, request: TsmRequest): Promise<TsmResponse> {
  const { operation, path, data } = request;
  const none = new Uint8Array(0);
  try {
    switch (operation) {
      case 'mkdir':
        await tsm.mkdir(path);
        return { data: none };
      case 'rmdir':
        await tsm.rmdir(path);
        return { data: none };
      case 'write':
        await tsm.writeFile(path, data);
        return { data: none };
      case 'read':
        return { data: await tsm.readFile(path) };
    }
  } catch (error) {
    // Whatever else fails is what a guest sees when its firmware fails.
    return { errno: error instanceof TsmError ? error.code : 'EIO' };
  }
}
