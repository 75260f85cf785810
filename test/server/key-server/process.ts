import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { encodeCoseKey } from '#core/cose/key.js';
import { toPem } from '#core/x509/pem.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { publicKeyLine, readPublicKey } from '#server/host/config/files.js';
import { bearer, makeSigner, type Signer } from '../../fakes/callers.js';
import { simulatedAuthority } from '../../fakes/simulated-hardware.js';
import { logFile, temporaryFolder } from '../../run-folder.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const program = join(root, 'dist/server/key-server/main.js');

export interface Output {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The folder of a Key Server and the program that runs in it. */
export class KeyServerFolder {
  readonly path = join(temporaryFolder('ks'), 'k');
  readonly config = join(this.path, 'key-server.yaml');
  readonly operator: Signer;

  private constructor(operator: Signer) {
    this.operator = operator;
  }

  /** With the root of the simulated hardware pinned; not initialised. */
  static async make(settings: Record<string, unknown> = {}): Promise<KeyServerFolder> {
    const folder = new KeyServerFolder(await makeSigner('operator'));
    mkdirSync(folder.path);
    const { arkCertificate } = await simulatedAuthority();
    writeFileSync(join(folder.path, 'ark.pem'), toPem('CERTIFICATE', arkCertificate));
    writeFileSync(join(folder.path, 'operator.pub'), publicKeyLine(folder.operator.publicKey));
    folder.configure(settings);
    return folder;
  }

  /** Writes its configuration anew. */
  configure(settings: Record<string, unknown>): void {
    const all = {
      grpc: { listen: '127.0.0.1:0' },
      web: { listen: '127.0.0.1:0' },
      metrics: { listen: '127.0.0.1:0' },
      operator_key_files: ['operator.pub'],
      verifier: { trust_anchor_files: ['ark.pem'] },
      ...settings,
    };
    writeFileSync(this.config, stringify(all));
  }

  static async initialised(settings: Record<string, unknown> = {}): Promise<KeyServerFolder> {
    const folder = await KeyServerFolder.make(settings);
    const { code, stderr } = await folder.run('init', '--self-signed', 'localhost');
    if (code !== 0) throw new Error(stderr);
    return folder;
  }

  get certificate(): string {
    return readFileSync(join(this.path, 'tls.crt'), 'utf8');
  }

  get identity() {
    return readPublicKey(join(this.path, 'identity.pub'), 'identity');
  }

  /** Runs the program to its end; what it says goes to the log of the run. */
  async run(...args: string[]): Promise<Output> {
    const output = await this.tell('', ...args);
    appendFileSync(logFile('key-server'), output.stdout + output.stderr);
    return output;
  }

  /** Runs the program to its end, with this on its standard input. */
  async tell(input: string, ...args: string[]): Promise<Output> {
    const child = spawn(process.execPath, [program, ...args, '--config', this.config]);
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const out = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      out.stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      out.stderr += chunk;
    });
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, ...out };
  }

  /** Serves; resolves when all ports are open. */
  async serve(environment: Record<string, string> = {}): Promise<KeyServerProcess> {
    const child = spawn(process.execPath, [program, 'serve', '--config', this.config], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...environment },
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let addresses: string[] = [];
    let all = '';
    await new Promise<void>((resolve, reject) => {
      child.once('exit', () => reject(new Error(`it did not serve: ${all}`)));
      child.stderr.on('data', (chunk) => {
        all += chunk;
        appendFileSync(logFile('key-server'), chunk);
        const lines = all.split('\n').slice(0, -1);
        const logged = lines.map((line) => JSON.parse(line) as Record<string, string>);
        addresses = logged.flatMap(({ msg, address }) =>
          msg?.endsWith('port open') && address !== undefined ? [address] : [],
        );
        if (addresses.length >= 3) resolve();
      });
    });
    return new KeyServerProcess(this, child, addresses);
  }
}

/** A Key Server that serves. */
export class KeyServerProcess {
  readonly folder: KeyServerFolder;
  /** Of the gRPC port, the web port, and the one for metrics: "host:port". */
  readonly address: string;
  readonly webAddress: string;
  readonly observeAddress: string;
  readonly #child: ChildProcess;

  constructor(folder: KeyServerFolder, child: ChildProcess, addresses: readonly string[]) {
    this.folder = folder;
    this.#child = child;
    [this.address = '', this.webAddress = '', this.observeAddress = ''] = addresses;
  }

  /** A client with a fresh token at every call. */
  client<S extends DescService>(service: S, caller: Signer): Client<S> {
    const transport = createGrpcTransport({
      baseUrl: `https://localhost:${this.address.split(':')[1]}`,
      nodeOptions: { ca: this.folder.certificate },
      interceptors: [
        (next) => async (request) => {
          request.header.set('authorization', await bearer(caller, 'key-server', Date.now()));
          return next(request);
        },
      ],
    });
    return createClient(service, transport);
  }

  async register(tenant: Signer): Promise<void> {
    await this.client(TenantService, this.folder.operator).registerTenant({
      tenant: { tenantId: tenant.name, signingKey: encodeCoseKey(tenant.publicKey) },
    });
  }

  signal(signal: 'SIGTERM' | 'SIGHUP'): void {
    this.#child.kill(signal);
  }

  /** Ends the process by this signal. @returns its exit code; null where the signal killed it */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    const ended = new Promise<number | null>((resolve) => this.#child.once('exit', resolve));
    this.#child.kill(signal);
    return ended;
  }
}
