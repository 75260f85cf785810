import { createServer, type Server } from 'node:net';
import { CvmpError } from '#core/errors.js';
import type { DevPorts } from './layout.js';

const loopback = '127.0.0.1';
const names = ['keyServer', 'keyServerWeb', 'platform', 'platformWeb'] as const;

function listen(port: number): Promise<Server> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, loopback, () => resolve(server));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

/** Ports that nobody uses now. */
export async function freePorts(): Promise<DevPorts> {
  // All four are held at once, so that they differ.
  const servers = await Promise.all(names.map(() => listen(0)));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map(close));
  const [keyServer = 0, keyServerWeb = 0, platform = 0, platformWeb = 0] = ports;
  return { keyServer, keyServerWeb, platform, platformWeb };
}

/**
 * Ports as typed: four numbers, or `auto`.
 * @throws CvmpError USAGE
 */
export function typedPorts(typed: string): DevPorts | 'auto' {
  if (typed === 'auto') return typed;
  const ports = typed.split(',').map(Number);
  const sound = ports.every((port) => Number.isInteger(port) && port >= 1 && port <= 65_535);
  if (ports.length !== names.length || !sound || new Set(ports).size !== ports.length) {
    throw new CvmpError('USAGE', '--ports takes four different ports such as 7443,7480,7444,7481');
  }
  const [keyServer = 0, keyServerWeb = 0, platform = 0, platformWeb = 0] = ports;
  return { keyServer, keyServerWeb, platform, platformWeb };
}

/** @throws CvmpError CONFIG naming the port that is taken */
export async function requireFree(ports: DevPorts): Promise<void> {
  for (const name of names) {
    const port = ports[name];
    try {
      await close(await listen(port));
    } catch (cause) {
      const why =
        (cause as NodeJS.ErrnoException).code === 'EADDRINUSE'
          ? 'is in use: stop the program that uses it, or make another folder with other --ports'
          : (cause as Error).message;
      throw new CvmpError('CONFIG', `port ${port} on ${loopback} ${why}`, {
        cause,
        field: 'ports',
      });
    }
  }
}
