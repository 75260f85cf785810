import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CvmpError } from '#core/errors.js';

/** Programs that `cvmp dev` runs, as the build left them beside this file. */
const scripts = {
  'cvmp-key-server': '../../server/key-server/main.js',
  'cvmp-platform': '../../server/cvm-platform/main.js',
} as const;

export type ProgramName = keyof typeof scripts;

/** How long a server may take to open its ports: a store of millions of records opens in seconds. */
const readyMs = 60_000;
/** What a server needs to drain, and then some; after this it is ended by force. */
const stopMs = 30_000;
/** Lines kept of what a program said, for the report when it fails. */
const linesKept = 20;

function scriptOf(name: ProgramName): string {
  return fileURLToPath(new URL(scripts[name], import.meta.url));
}

/** What a program wrote that is no log line: its own words about why it failed. */
function plainWords(lines: readonly string[]): string {
  const words = lines
    .filter((line) => !line.startsWith('{'))
    .join(' ')
    .trim();
  return words === '' ? (lines.at(-1) ?? 'it said nothing') : words;
}

/** Runs `NAME init --config FILE ...` to its end. @throws CvmpError CONFIG with its words */
export function initProgram(
  name: ProgramName,
  configFile: string,
  more: readonly string[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    const args = [scriptOf(name), 'init', '--config', configFile, ...more];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const lines: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new CvmpError('CONFIG', `${name} init failed: ${plainWords(lines)}`));
    });
  });
}

/** A server program that runs until it is stopped. */
export class RunningProgram {
  readonly name: ProgramName;
  /** Settles when the process is gone: undefined where it was asked to stop, else why it ended. */
  readonly ended: Promise<CvmpError | undefined>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #ports = 0;
  #stopping = false;
  #onPort: () => void = () => undefined;

  /**
   * Starts `NAME serve --config FILE`, in a process group of its own: Ctrl-C is for `cvmp dev`,
   * which lets its servers drain.
   * @param logFile gets everything that it writes
   */
  constructor(name: ProgramName, configFile: string, logFile: string) {
    this.name = name;
    const args = [scriptOf(name), 'serve', '--config', configFile];
    const log = createWriteStream(logFile, { flags: 'a', mode: 0o600 });
    this.#child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child.stdout?.pipe(log, { end: false });
    this.#follow(log);
    this.ended = new Promise((resolve) => {
      this.#child.on('error', (cause) => resolve(this.#failure(cause.message)));
      this.#child.on('close', (code, signal) => {
        log.end();
        const why = `ended with ${signal ?? `exit code ${code}`}: ${plainWords(this.#lines)}`;
        resolve(this.#stopping ? undefined : this.#failure(why));
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves when both ports are open. @throws CvmpError UNAVAILABLE, CONFIG */
  async ready(): Promise<void> {
    const opened = new Promise<void>((resolve) => {
      this.#onPort = () => {
        if (this.#ports === 2) resolve();
      };
      this.#onPort();
    });
    const timeout = AbortSignal.timeout(readyMs);
    const late = new Promise<never>((_, reject) => {
      timeout.addEventListener('abort', () => {
        reject(new CvmpError('UNAVAILABLE', `${this.name} opened no ports in ${readyMs / 1000} s`));
      });
    });
    const failed = this.ended.then((error) => {
      throw error ?? new CvmpError('CANCELLED', `${this.name} was stopped`);
    });
    late.catch(() => undefined);
    await Promise.race([opened, failed, late]);
    failed.catch(() => undefined);
  }

  /** Asks it to drain and waits for its end; by force where it does not end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#child.kill('SIGTERM');
    const force = setTimeout(() => this.#child.kill('SIGKILL'), stopMs);
    await this.ended;
    clearTimeout(force);
  }

  #failure(why: string): CvmpError {
    return new CvmpError('CONFIG', `${this.name} ${why}`);
  }

  #follow(log: WriteStream): void {
    const { stderr } = this.#child;
    if (stderr === null) return;
    createInterface({ input: stderr }).on('line', (line) => {
      log.write(`${line}\n`);
      this.#lines.push(line);
      if (this.#lines.length > linesKept) this.#lines.shift();
      if (/"msg":"(grpc|web) port open"/.test(line)) {
        this.#ports++;
        this.#onPort();
      }
    });
  }
}
