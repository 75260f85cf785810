import { type ChildProcess, execFile, spawn } from 'node:child_process';
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
  /** Of the child process: PATH, HOME, XDG_*, SSH_AUTH_SOCK. */
  readonly environment: Readonly<Record<string, string>>;
}

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
        env: this.#environment(),
        timeout: millisecondsMax,
        killSignal: 'SIGKILL',
        maxBuffer: answerBytesMax,
      } as const;
      execFile('virsh', this.#arguments(verb, given), options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(this.#failure(verb, error, stderr));
      });
    });
  }

  follow(listener: (event: DomainEvent) => void, lost: (error: CvmpError) => void): () => void {
    const given = ['--all', '--loop'];
    const child = spawn('virsh', this.#arguments('event', given), {
      env: this.#environment(),
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
    child.on('close', () => failed(refusalOf('event', stderr)));
    return () => {
      failed(undefined);
      stop(child);
    };
  }

  #arguments(verb: string, given: readonly string[]): string[] {
    return ['--quiet', '--connect', this.#options.uri, verb, ...given];
  }

  #environment(): Record<string, string> {
    return { ...this.#options.environment, LC_ALL: 'C' };
  }

  #failure(verb: string, error: Error & { code?: unknown; killed?: boolean }, stderr: string) {
    if (error.code === 'ENOENT') {
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
