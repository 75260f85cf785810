import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logFile, temporaryFolder } from '../run-folder.js';

export const repository = resolve(fileURLToPath(new URL('../..', import.meta.url)));
const cvmpMain = join(repository, 'dist/cli/main.js');

interface Addresses {
  /** "host:port" */
  readonly grpc: string;
  /** "https://host:port" */
  readonly web: string;
}

/** What `cvmp dev --json` says once both servers serve. */
export interface DevReport {
  readonly key_server: Addresses;
  readonly platform: Addresses;
  readonly tenant: string;
  readonly profile: string;
  readonly policy: string;
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; its output is kept to be searched for secrets. */
export async function run(
  command: string,
  args: readonly string[],
  input = '',
  env: NodeJS.ProcessEnv = process.env,
): Promise<Ran> {
  const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  child.stdin.on('error', () => undefined).end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  appendFileSync(logFile('commands'), `$ ${command} ${args.join(' ')}\n${stdout}${stderr}\n`);
  return { code, stdout, stderr };
}

/** The real programs on free ports of the loopback address, as `cvmp dev` starts them. */
export class DevStack {
  readonly folder: string;
  readonly report: DevReport;
  readonly #process: ChildProcess;

  private constructor(folder: string, report: DevReport, process: ChildProcess) {
    this.folder = folder;
    this.report = report;
    this.#process = process;
  }

  static async start(folder = join(temporaryFolder('dev'), 'd')): Promise<DevStack> {
    const args = [cvmpMain, 'dev', '--data', folder, '--ports', 'auto', '--json'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const log = logFile('dev');
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk;
      appendFileSync(log, chunk);
    });
    const report = await new Promise<DevReport>((resolveReport, reject) => {
      let stdout = '';
      child.stdout.on('data', (chunk: Buffer) => {
        stdout += chunk;
        appendFileSync(log, chunk);
        const parsed = parseWhole(stdout);
        if (parsed !== undefined) resolveReport(parsed);
      });
      child.once('close', (code) => reject(new Error(`cvmp dev ended with ${code}: ${stderr}`)));
    });
    return new DevStack(folder, report, child);
  }

  /** Runs `cvmp` as the tenant of this stack. */
  cvmp(...args: string[]): Promise<Ran> {
    const { profile } = this.report;
    return run(process.execPath, [cvmpMain, ...args, '--profile', profile]);
  }

  /** The certificates of both servers, each its own issuer. */
  get caFile(): string {
    const file = join(this.folder, 'both.crt');
    const certificates = ['key-server', 'platform'].map((server) =>
      readFileSync(join(this.folder, server, 'tls.crt'), 'utf8'),
    );
    writeFileSync(file, certificates.join(''));
    return file;
  }

  /** Ctrl-C, and its exit code. */
  async stop(): Promise<number | null> {
    if (this.#process.exitCode !== null) return this.#process.exitCode;
    const closed = once(this.#process, 'close') as Promise<[number | null]>;
    this.#process.kill('SIGINT');
    return (await closed)[0];
  }
}

function parseWhole(text: string): DevReport | undefined {
  try {
    return JSON.parse(text) as DevReport;
  } catch {
    return undefined;
  }
}
