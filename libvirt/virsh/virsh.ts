import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CvmpError } from '#core/errors.js';
import { type DomainEvent, readEvent } from './events.js';
import { refusalOf } from './refusals.js';

/** How libvirt is asked. One connection each; another transport could speak its RPC instead. */
export interface Libvirt {
  /**
   * @param verb and its arguments, as virsh names them
   * @returns what it printed
   * @throws CvmpError a code of refusals.ts; DRIVER also where it does not end in time
   */
  ask(verb: string, ...given: readonly string[]): Promise<string>;
  /** The same for a verb whose last argument is a file, with this text in it. */
  askOf(xml: string, verb: string, ...given: readonly string[]): Promise<string>;
  /**
   * Follows what happens to domains from now on; ends with `lost` where the connection does.
   * @returns a function that ends it
   */
  follow(listener: (event: DomainEvent) => void, lost: (error: CvmpError) => void): () => void;
}

export interface VirshOptions {
  /** Connection URI: qemu:///system, qemu:///session, qemu+ssh://HOST/system ... */
  readonly uri: string;
  /** An answer takes milliseconds; a launch of large encrypted memory many seconds. */
  readonly millisecondsMax: number;
}

/** Exit code of env(1) where there is no such program. */
const notFound = 127;
const answerBytesMax = 16 * 1024 * 1024;

/** libvirt by its own command, one process a question: 20 ms each, any URI, no native code. */
export class Virsh implements Libvirt {
  readonly #options: VirshOptions;

  constructor(options: VirshOptions) {
    this.#options = options;
  }

  ask(verb: string, ...given: readonly string[]): Promise<string> {
    const { millisecondsMax } = this.#options;
    return new Promise((resolve, reject) => {
      const options = {
        timeout: millisecondsMax,
        killSignal: 'SIGKILL',
        maxBuffer: answerBytesMax,
      } as const;
      execFile('env', this.#arguments(verb, given), options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(this.#failure(verb, error, stderr));
      });
    });
  }

  async askOf(xml: string, verb: string, ...given: readonly string[]): Promise<string> {
    // virsh opens it by name, which it cannot do with what Node gives as standard input.
    const folder = await mkdtemp(join(tmpdir(), 'cvmp-libvirt-'));
    try {
      const file = join(folder, 'domain.xml');
      await writeFile(file, xml, { mode: 0o600 });
      return await this.ask(verb, ...given, file);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  follow(listener: (event: DomainEvent) => void, lost: (error: CvmpError) => void): () => void {
    const given = ['--all', '--loop'];
    const child = spawn('env', this.#arguments('event', given), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (bytes) => {
      stderr = `${stderr}${bytes}`.slice(-4096);
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      const event = readEvent(line);
      if (event !== undefined) listener(event);
    });
    const failed = once((error: CvmpError) => lost(error));
    child.on('error', (cause) => failed(this.#failure('event', cause, stderr)));
    child.on('close', (code) => {
      failed(this.#failure('event', Object.assign(new Error('it ended'), { code }), stderr));
    });
    return () => {
      failed(undefined);
      stop(child);
    };
  }

  #arguments(verb: string, given: readonly string[]): string[] {
    // What it says is read as English; the rest of the environment it needs (ssh, XDG folders).
    return ['LC_ALL=C', 'virsh', '--quiet', '--connect', this.#options.uri, verb, ...given];
  }

  #failure(verb: string, error: Error & { code?: unknown; killed?: boolean }, stderr: string) {
    if (error.code === notFound) {
      return new CvmpError('DRIVER', 'virsh is not installed (package libvirt-clients)', {
        cause: error,
      });
    }
    if (error.killed === true) {
      const seconds = this.#options.millisecondsMax / 1000;
      return new CvmpError('DRIVER', `libvirt: ${verb}: no answer in ${seconds} s`, {
        cause: error,
      });
    }
    return refusalOf(verb, stderr, error);
  }
}

/** Only the first call counts; called with undefined, none does. */
function once<T>(listener: (value: T) => void): (value: T | undefined) => void {
  let isOver = false;
  return (value) => {
    if (isOver) return;
    isOver = true;
    if (value !== undefined) listener(value);
  };
}

function stop(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.kill('SIGTERM');
}
