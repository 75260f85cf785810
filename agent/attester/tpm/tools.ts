import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { runProgram } from '../../child-program.js';

export interface TpmToolsOptions {
  /** How the tools reach the TPM (TPM2TOOLS_TCTI). */
  readonly tcti: string;
  /** Where a private folder for the files of the tools is made; volatile. */
  readonly stateDir: string;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Folder of the tools; undefined: the system's. */
  readonly programs?: string;
}

/** A TPM behind the kernel's resource manager. */
const managedDevice = /^device:.*\/tpmrm[0-9]+$/;

/** A TPM that makes an RSA key may take this long. */
const deadlineMs = 60_000;

/**
 * tpm2-tools as child processes. Arguments are passed as they are, without a shell; what is larger
 * goes through files of a folder that only the agent may read.
 */
export class TpmTools {
  readonly #tcti: string;
  readonly #folder: string;

  readonly #programs: string;

  private constructor(tcti: string, folder: string, programs: string) {
    this.#tcti = tcti;
    this.#programs = programs;
    this.#folder = folder;
  }

  /** @throws CvmpError TPM_UNAVAILABLE where the folder cannot be made */
  static async open({
    tcti,
    stateDir,
    randomBytes,
    programs = '',
  }: TpmToolsOptions): Promise<TpmTools> {
    const folder = join(stateDir, `tpm-${process.pid}-${toHex(randomBytes(8))}`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      openFolders.add(folder);
      await removeLeftFolders(stateDir);
    } catch (cause) {
      const message = `no folder for the tools in ${stateDir}`;
      throw new CvmpError('TPM_UNAVAILABLE', message, { cause, field: 'state_dir' });
    }
    return new TpmTools(tcti, folder, programs);
  }

  /** Path of a file of this name for the tools. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  async write(name: string, data: Uint8Array): Promise<string> {
    await writeFile(this.path(name), data, { mode: 0o600 });
    return this.path(name);
  }

  /** Reads what a tool wrote, and takes the file away. */
  async take(name: string): Promise<Uint8Array> {
    const data = new Uint8Array(await readFile(this.path(name)));
    await rm(this.path(name));
    return data;
  }

  /**
   * @param tool name without `tpm2_`
   * @returns standard output
   * @throws CvmpError TPM_UNAVAILABLE with the tool's own complaint
   */
  async run(tool: string, args: readonly string[], input?: Uint8Array): Promise<Uint8Array> {
    // The libraries' own log repeats each complaint several times.
    const env = { TPM2TOOLS_TCTI: this.#tcti, TSS2_LOG: 'all+none' };
    const field = `tpm2_${tool}`;
    const options = { input, deadlineMs, env };
    const program = join(this.#programs, field);
    const result = await runProgram(program, args, options).catch((cause: Error) => {
      throw new CvmpError('TPM_UNAVAILABLE', cause.message, { cause, field });
    });
    if (result.exitCode === 0) return result.stdout;
    const complaint = result.complaints.find((line) => line.startsWith('ERROR')) ?? 'no complaint';
    throw new CvmpError('TPM_UNAVAILABLE', `${field}: ${complaint}`, { field });
  }

  /**
   * Without a resource manager what a tool loaded stays, and there is room for three keys. With one
   * it goes with the tool; sessions and keys that a tool saved can be loaded by the next.
   */
  async flush(): Promise<void> {
    if (managedDevice.test(this.#tcti)) return;
    for (const kind of ['-t', '-l']) await this.run('flushcontext', [kind]);
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    openFolders.delete(this.#folder);
  }
}

/** Of this process. */
const openFolders = new Set<string>();
const folderPattern = /^tpm-([0-9]+)-[0-9a-f]{16}$/;

/** An agent that was killed took nothing away. */
async function removeLeftFolders(stateDir: string): Promise<void> {
  for (const name of await readdir(stateDir)) {
    const pid = Number(folderPattern.exec(name)?.[1]);
    const folder = join(stateDir, name);
    if (Number.isNaN(pid) || openFolders.has(folder)) continue;
    if (pid === process.pid || !isRunning(pid)) await rm(folder, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs as somebody else.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
