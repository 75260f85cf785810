import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { CvmpError, isErrorCode } from '#core/errors.js';
import {
  type CvmFolder,
  type Ended,
  readEnded,
  readIdentity,
  removeFile,
  writeWhole,
} from './folder.js';
import { killGroup } from './processes.js';

/** A launch takes a fraction of a second; a machine that needs more is stuck. */
export const startMsMax = 30_000;

/**
 * Starts the machine process of a CVM; resolves when its guest runs.
 * @throws CvmpError LAUNCH_REFUSED, DRIVER
 */
export async function startMachine(program: string, folder: CvmFolder): Promise<void> {
  const console = await open(folder.console, 'w', 0o600);
  try {
    const child = spawn(process.execPath, [program, folder.path], {
      cwd: folder.path,
      env: {},
      stdio: ['ignore', console.fd, console.fd, 'pipe'],
      detached: true,
    });
    const failed = once(child, 'error').then(([error]) => Promise.reject(error));
    const late = setTimeout(() => child.kill('SIGKILL'), startMsMax);
    const answer = await Promise.race([text(child.stdio[3] as Readable), failed]).finally(() =>
      clearTimeout(late),
    );
    child.unref();
    const { code, message } = JSON.parse(answer || '{"code":"DRIVER","message":"it died"}') as {
      code?: string;
      message?: string;
    };
    // Another machine of this CVM was quicker: it is the one that runs.
    if (code === undefined || code === 'CVM_STATE') return;
    throw new CvmpError(isErrorCode(code) ? code : 'DRIVER', message ?? 'no reason given');
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    throw new CvmpError('DRIVER', 'the machine could not be started', { cause });
  } finally {
    await console.close();
  }
}

/** Clears away what a machine that was killed left, its guest before all. */
export async function bury(folder: CvmFolder): Promise<void> {
  const guest = readIdentity(folder.agentProcess);
  if (guest !== undefined) killGroup(guest);
  if ((await readEnded(folder)) === undefined) {
    const ended: Ended = { run: 'crashed', reason: 'the machine of the guest was killed' };
    await writeWhole(folder.ended, JSON.stringify(ended));
  }
  await removeFile(folder.machineProcess);
  await rm(folder.sockets, { recursive: true, force: true });
}
