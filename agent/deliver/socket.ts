import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { CvmpError } from '#core/errors.js';

/**
 * Serves the key to the first that connects to a unix socket, then takes the socket away: what
 * systemd-cryptsetup reads where a key file is a socket (crypttab(5)). The caller's umask must keep
 * others out from the first instant.
 * @param signal ends the waiting
 * @throws CvmpError DELIVERY, CANCELLED
 */
export async function deliverToSocket(
  key: Uint8Array,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const server = createServer({ allowHalfOpen: true });
  try {
    const handedOver = firstReader(server, key, signal);
    await Promise.all([listenPrivately(server, path), handedOver]);
  } finally {
    server.close();
    await rm(path, { force: true });
  }
}

/** Resolves when one reader has the whole key; who comes while another is served gets nothing. */
function firstReader(server: Server, key: Uint8Array, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancelled = () => reject(new CvmpError('CANCELLED', 'nobody came for the key'));
    if (signal.aborted) cancelled();
    signal.addEventListener('abort', cancelled, { once: true });
    let taken = false;
    server.on('connection', async (reader) => {
      if (taken) {
        reader.destroy();
        return;
      }
      taken = true;
      taken = await handOver(key, reader);
      if (!taken) return;
      signal.removeEventListener('abort', cancelled);
      resolve();
    });
  });
}

async function listenPrivately(server: Server, path: string): Promise<void> {
  // Left by an agent that was killed; nobody listens there any more.
  await rm(path, { force: true });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    await chmod(path, 0o600);
  } catch (cause) {
    throw new CvmpError('DELIVERY', `cannot listen on ${path}`, { cause, field: path });
  }
}

/** True when the reader has taken the whole key; one that went away before does not count. */
function handOver(key: Uint8Array, reader: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    reader.on('error', () => resolve(false));
    reader.on('close', (failed) => resolve(!failed));
    reader.resume();
    reader.end(key);
  });
}
