import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { toHex } from '#core/bytes.js';
import type { TrustAnchor } from '#core/rats/endorsements.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { readDerOrPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import { logFile, temporaryFolder } from '../run-folder.js';
import { digest, type FakeEvent, type LogBank } from './event-log.js';

const programs = ['swtpm', 'swtpm_setup', 'swtpm_localca', 'tpm2_quote'];
const folders = ['/usr/bin', '/usr/sbin', '/usr/local/bin'];

/** Why tests with a real TPM 2.0 (in software) cannot run; undefined where they can. */
export const swtpmMissing = programs.find(
  (program) => !folders.some((folder) => existsSync(join(folder, program))),
);

const running = new Set<ChildProcess>();
// Where a test fails before it holds its TPM, nobody else ends that.
process.once('exit', () => {
  for (const child of running) child.kill();
});

/** A TPM 2.0 in software, made by its vendor's tool: EK certificates under a CA of its own. */
export class Swtpm {
  readonly folder = temporaryFolder('tpm');
  readonly #banks: string;
  #process: ChildProcess | undefined;

  private constructor(banks: string) {
    this.#banks = banks;
  }

  /** Manufactures a TPM and powers it on. @param banks of PCRs that are active */
  static async create(banks = 'sha256', caFolder?: string): Promise<Swtpm> {
    const tpm = new Swtpm(banks);
    tpm.#manufacture(caFolder ?? tpm.folder);
    await tpm.powerOn();
    return tpm;
  }

  get socket(): string {
    return join(this.folder, 's');
  }

  get stateDir(): string {
    return join(this.folder, 'run');
  }

  /** The CA's certificate, which signs EK certificates; and the pin of its root. */
  get authority(): { readonly certificates: readonly Uint8Array[]; readonly anchor: TrustAnchor } {
    const read = (name: string) =>
      readDerOrPem(readFileSync(join(this.folder, 'ca', name)), 'CERTIFICATE', name);
    const root = read('swtpm-localca-rootca-cert.pem');
    const { spki } = parseCertificate(root[0]!);
    const anchor = { format: 'tpm', name: 'swtpm', spkiDigest: crypto.hash('sha256', spki) };
    return { certificates: [...read('issuercert.pem'), ...root], anchor };
  }

  #manufacture(caFolder: string): void {
    const ca = join(caFolder, 'ca');
    for (const folder of [ca, join(this.folder, 'state'), this.stateDir]) {
      mkdirSync(folder, { recursive: true });
    }
    const file = (name: string, lines: readonly string[]) => {
      const path = join(this.folder, name);
      writeFileSync(path, `${lines.join('\n')}\n`);
      return path;
    };
    const localca = file('localca.conf', [
      `statedir = ${ca}`,
      `signingkey = ${ca}/signkey.pem`,
      `issuercert = ${ca}/issuercert.pem`,
      `certserial = ${ca}/certserial`,
    ]);
    const config = file('setup.conf', [
      'create_certs_tool = swtpm_localca',
      `create_certs_tool_config = ${localca}`,
      `create_certs_tool_options = ${file('localca.options', [])}`,
    ]);
    const args = ['--tpm2', '--tpmstate', join(this.folder, 'state'), '--config', config];
    const made = ['--createek', '--create-ek-cert', '--pcr-banks', this.#banks, '--vmid', 'test'];
    execFileSync('swtpm_setup', [...args, ...made, '--lock-nvram'], { stdio: 'pipe' });
  }

  /** As a machine that is restarted: PCRs start anew, NV and keys stay. */
  async restart(): Promise<void> {
    // Without this the TPM takes it for an attempt to guess a password.
    this.run('shutdown', '-c');
    await this.powerOff();
    await this.powerOn();
  }

  async powerOn(): Promise<void> {
    const ready = listening(this.folder, 's');
    const log = openSync(logFile('swtpm'), 'a');
    const server = ['--server', `type=unixio,path=${this.socket}`];
    const control = ['--ctrl', `type=unixio,path=${this.socket}.ctrl`];
    const state = ['--tpmstate', `dir=${join(this.folder, 'state')}`, '--flags', 'startup-clear'];
    const args = ['socket', '--tpm2', ...server, ...control, ...state];
    const child = spawn('swtpm', args, { stdio: ['ignore', log, log] });
    running.add(child.once('exit', () => running.delete(child)));
    this.#process = child;
    await ready;
  }

  async powerOff(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  }

  /** Runs one of tpm2-tools, as the firmware or the vendor would use the TPM. */
  run(tool: string, ...args: string[]): Uint8Array {
    const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:path=${this.socket}` };
    try {
      return new Uint8Array(execFileSync(`tpm2_${tool}`, args, { env, stdio: 'pipe' }));
    } finally {
      if (tool !== 'flushcontext') this.run('flushcontext', '-t');
    }
  }

  file(name: string, data?: Uint8Array): string {
    const path = join(this.folder, name);
    if (data !== undefined) writeFileSync(path, data);
    return path;
  }

  /** What a tool wrote into a file of this name. */
  read(name: string): Uint8Array {
    return new Uint8Array(readFileSync(join(this.folder, name)));
  }

  /** Measures a boot. */
  extend(events: readonly FakeEvent[]): void {
    const banks = this.#banks.split(',') as LogBank[];
    const specs = events
      .filter(({ type }) => type !== 3)
      .map(({ register, data, measured = data }) => {
        const digests = banks.map((bank) => `${bank}=${toHex(digest(bank, measured))}`);
        return `${register}:${digests.join(',')}`;
      });
    this.run('pcrextend', ...specs);
  }

  /** Takes away an NV index, where it is there. */
  nvRemove(index: number): void {
    const held = Buffer.from(this.run('getcap', 'handles-nv-index')).toString().toLowerCase();
    const handle = `0x${index.toString(16)}`;
    if (held.includes(`${handle}\n`)) this.run('nvundefine', '-C', 'o', handle);
  }

  /** Puts bytes into an NV index that the owner may read, in the place of what was there. */
  nvStore(index: number, data: Uint8Array): void {
    const handle = `0x${index.toString(16)}`;
    this.nvRemove(index);
    this.run('nvdefine', '-C', 'o', '-s', `${data.length}`, handle);
    this.run('nvwrite', '-C', 'o', '-i', this.file('nv', data), handle);
  }
}

/** Resolves when somebody listens at this path of the folder. */
async function listening(folder: string, name: string): Promise<void> {
  const path = join(folder, name);
  await new Promise<void>((resolve) => {
    const watcher = watch(folder, (_, changed) => {
      if (changed !== name || !existsSync(path)) return;
      watcher.close();
      resolve();
    });
  });
  // The file is there with bind(2), a moment before listen(2).
  while (!(await connects(path)));
}

function connects(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
