import { spawn } from 'node:child_process';
import { fromUtf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';

/** Output of a finished cryptsetup. */
export interface CryptsetupResult {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  /** First line of what it complained of; cryptsetup never prints keys. */
  readonly complaint: string;
}

/** Exit code of cryptsetup for a passphrase that opens nothing (cryptsetup(8), RETURN CODES). */
export const wrongKey = 2;
/** Exit code for a device that exists already or is busy. */
export const busy = 5;

const outputBytesMax = 1 << 20;
/** With PBKDF2 of 1000 rounds every operation takes milliseconds; a disk that hangs takes longer. */
const deadlineMs = 60_000;

/**
 * The cryptsetup program as child process. Keys go through its standard input, never through
 * arguments, environment or files; arguments are passed as they are, without a shell.
 */
export class Cryptsetup {
  readonly #program: string;

  /** @param program name to look up in the system folders, or a path */
  constructor(program = 'cryptsetup') {
    this.#program = program;
  }

  /** Whether there is a cryptsetup that knows LUKS2. */
  async isInstalled(): Promise<boolean> {
    try {
      const { exitCode, stdout } = await this.run(['--version']);
      return exitCode === 0 && /^cryptsetup ([2-9]|[1-9][0-9])\./.test(fromUtf8(stdout));
    } catch (error) {
      if (error instanceof CvmpError) return false;
      throw error;
    }
  }

  /**
   * @param input standard input; the caller's to zeroise
   * @throws CvmpError DISK where the program cannot be started or does not end
   */
  async run(args: readonly string[], input?: Uint8Array): Promise<CryptsetupResult> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.#program, args, {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { LC_ALL: 'C', PATH: '/usr/sbin:/sbin:/usr/bin:/bin' },
        timeout: deadlineMs,
        killSignal: 'SIGKILL',
      });
      const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
      child.on('error', (cause) => {
        reject(new CvmpError('DISK', `${this.#program} cannot be started`, { cause }));
      });
      child.on('close', (exitCode) => {
        if (exitCode === null) {
          reject(new CvmpError('DISK', `${this.#program} did not end in ${deadlineMs} ms`));
          return;
        }
        const complaint = stderr().toString('latin1').trim().split('\n', 1)[0]!;
        resolve({ exitCode, stdout: stdout(), complaint });
      });
      // It may end without reading its input, for instance at a bad header.
      child.stdin.on('error', () => {});
      child.stdin.end(input);
    });
  }
}

function collect(stream: NodeJS.ReadableStream): () => Buffer {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= outputBytesMax) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks);
}
