import { readFileSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CvmpError } from '#core/errors.js';
import type { HostState } from '../driver.js';
import type { ProcessIdentity } from './processes.js';

/** How the last run of a CVM ended. */
export type Ended = { readonly run: 'off' } | Extract<HostState, { run: 'crashed' }>;

/** Paths of unix sockets are shorter than this in every system (sockaddr_un). */
const socketPathMax = 103;
const cvmIdMax = 32;

/**
 * Everything that one simulated CVM has on disk. Files stay between starts; sockets lie in a folder
 * of their own, whose path has to be short.
 */
export class CvmFolder {
  readonly path: string;
  readonly sockets: string;

  constructor(path: string, sockets: string) {
    this.path = path;
    this.sockets = sockets;
  }

  /** What to launch. There is a CVM where this file is. */
  get definition(): string {
    return join(this.path, 'definition');
  }

  get configDocument(): string {
    return join(this.path, 'config-document');
  }

  get agentConfig(): string {
    return join(this.path, 'agent.yaml');
  }

  get disk(): string {
    return join(this.path, 'disk');
  }

  get agentState(): string {
    return join(this.path, 'agent');
  }

  /** What the guest wrote, in its last run. */
  get console(): string {
    return join(this.path, 'console.log');
  }

  /** {@link ProcessIdentity} of the machine process, while it lives. */
  get machineProcess(): string {
    return join(this.path, 'machine.pid');
  }

  /** {@link ProcessIdentity} of the agent, which is the guest. */
  get agentProcess(): string {
    return join(this.path, 'agent.pid');
  }

  /** {@link Ended}, after a run. */
  get ended(): string {
    return join(this.path, 'ended');
  }

  get controlSocket(): string {
    return join(this.sockets, 'control');
  }

  get tsmSocket(): string {
    return join(this.sockets, 'tsm');
  }

  get guestSocket(): string {
    return join(this.sockets, 'guest');
  }
}

/** @throws CvmpError CONFIG where sockets below this folder would have too long a path */
export function demandShort(runFolder: string): void {
  const longest = new CvmFolder('', join(runFolder, 'x'.repeat(cvmIdMax))).controlSocket;
  if (Buffer.byteLength(longest) <= socketPathMax) return;
  const room = socketPathMax - (Buffer.byteLength(longest) - Buffer.byteLength(runFolder));
  const field = 'driver.run_folder';
  throw new CvmpError('CONFIG', `${field}: ${runFolder} is longer than ${room} bytes`, { field });
}

/** Replaces a file as a whole; durable when it resolves. @param mode permissions, for others none */
export async function writeWhole(
  path: string,
  content: Uint8Array | string,
  mode = 0o600,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.new`;
  const file = await open(fresh, 'w', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
}

/** undefined where there is none. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The process that a file names; undefined where the file is absent or was being written. */
export function readIdentity(path: string): ProcessIdentity | undefined {
  try {
    const { pid, started } = JSON.parse(readFileSync(path, 'utf8')) as Partial<ProcessIdentity>;
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}

export async function readEnded(folder: CvmFolder): Promise<Ended | undefined> {
  const text = await readIfThere(folder.ended);
  if (text === undefined) return undefined;
  const { run, reason } = JSON.parse(text.toString()) as { run?: unknown; reason?: unknown };
  return run === 'crashed' ? { run, reason: String(reason) } : { run: 'off' };
}

export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}
