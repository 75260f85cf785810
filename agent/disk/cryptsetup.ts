import { fromUtf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { runProgram } from '../child-program.js';

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
    try {
      const { exitCode, stdout, complaints } = await runProgram(this.#program, args, {
        input,
        deadlineMs,
      });
      return { exitCode, stdout, complaint: complaints[0]! };
    } catch (cause) {
      throw new CvmpError('DISK', (cause as Error).message, { cause });
    }
  }
}
