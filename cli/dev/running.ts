import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { CvmpError } from '#core/errors.js';

/** Who runs on a data folder. */
interface Running {
  /** Process of `cvmp dev`. */
  readonly pid: number;
  /** Its servers. */
  readonly servers: readonly number[];
}

const pollMs = 50;
/** A server drains for 10 s at most by its configuration. */
const goneMs = 30_000;

/** Whether a process lives and is one of ours; a number that was given away again is not. */
async function alive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => 'main.js');
  return commandLine.includes('main.js');
}

async function readRunning(file: string): Promise<Running | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Running;
  } catch {
    // Cut off while it was written: whoever wrote it is gone.
    return { pid: 0, servers: [] };
  }
}

/**
 * Takes a data folder for this process. Servers that a killed `cvmp dev` left behind are ended.
 * @param file of the data folder that says who runs
 * @throws CvmpError STORE_LOCKED where somebody else runs on it
 */
export async function claim(file: string, data: string): Promise<void> {
  const before = await readRunning(file);
  if (before !== undefined) {
    if (before.pid !== 0 && (await alive(before.pid))) {
      const why = `cvmp dev runs on ${data} already (process ${before.pid})`;
      throw new CvmpError('STORE_LOCKED', why);
    }
    await Promise.all(before.servers.map((pid) => endLeftOver(pid)));
    await rm(file, { force: true });
  }
  try {
    await writeFile(file, JSON.stringify({ pid: process.pid, servers: [] }), { flag: 'wx' });
  } catch (cause) {
    throw new CvmpError('STORE_LOCKED', `another cvmp dev starts on ${data} now`, { cause });
  }
}

/** Says which servers run for this process. */
export async function record(file: string, servers: readonly number[]): Promise<void> {
  await writeFile(file, JSON.stringify({ pid: process.pid, servers }));
}

/** Gives the data folder back. */
export async function release(file: string): Promise<void> {
  await rm(file, { force: true });
}

async function endLeftOver(pid: number): Promise<void> {
  if (!(await alive(pid))) return;
  process.kill(pid, 'SIGTERM');
  const deadline = AbortSignal.timeout(goneMs);
  while (await alive(pid)) {
    if (deadline.aborted) {
      throw new CvmpError('STORE_LOCKED', `process ${pid} of an earlier cvmp dev does not end`);
    }
    await delay(pollMs);
  }
}
