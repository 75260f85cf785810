import { spawn } from 'node:child_process';

/** How a program ended. */
export interface ProgramResult {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  /** What it wrote to its standard error, by line. */
  readonly complaints: readonly string[];
}

export interface ProgramOptions {
  /** Standard input; the caller's to zeroise. */
  readonly input?: Uint8Array | undefined;
  /** After this it is killed. */
  readonly deadlineMs: number;
  /** Beside LC_ALL and PATH, the whole environment. */
  readonly env?: Readonly<Record<string, string>>;
}

const outputBytesMax = 1 << 20;

/**
 * Runs a program of the system to its end, without a shell and without this process's environment.
 * @param program name to look up in the system folders, or a path
 * @throws Error where it cannot be started or does not end in time
 */
export function runProgram(
  program: string,
  args: readonly string[],
  { input, deadlineMs, env = {} }: ProgramOptions,
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { LC_ALL: 'C', PATH: '/usr/sbin:/sbin:/usr/bin:/bin', ...env },
      timeout: deadlineMs,
      killSignal: 'SIGKILL',
    });
    const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
    child.on('error', (cause) => reject(new Error(`${program} cannot be started`, { cause })));
    child.on('close', (exitCode) => {
      if (exitCode === null) {
        reject(new Error(`${program} did not end in ${deadlineMs} ms`));
        return;
      }
      const complaints = stderr().toString('latin1').trim().split('\n');
      resolve({ exitCode, stdout: new Uint8Array(stdout()), complaints });
    });
    // It may end without reading its input, for instance at a bad header.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
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
