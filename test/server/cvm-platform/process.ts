import { type ChildProcess, spawn } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { encodeCoseKey } from '#core/cose/key.js';
import { CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { readIdentity } from '#server/cvm-platform/driver/simulated/folder.js';
import { killGroup } from '#server/cvm-platform/driver/simulated/processes.js';
import { publicKeyLine } from '#server/host/config/files.js';
import { bearer, makeSigner, type Signer } from '../../fakes/callers.js';
import { logFile, temporaryFolder } from '../../run-folder.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const program = join(root, 'dist/server/cvm-platform/main.js');

interface Output {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Original {
  readonly folder: PlatformFolder;
  readonly init: Output;
}

let original: Promise<Original> | undefined;

/** The folder of a platform and what its programs say. */
export class PlatformFolder {
  readonly path = join(temporaryFolder('plat'), 'p');
  readonly config = join(this.path, 'platform.yaml');
  readonly operator: Signer;

  private constructor(operator: Signer) {
    this.operator = operator;
  }

  /** One that was initialised: a copy, since the keys of its hardware take seconds. */
  static async initialised(settings: Record<string, object> = {}): Promise<PlatformFolder> {
    const { folder: original } = await PlatformFolder.original();
    const folder = await PlatformFolder.make(settings);
    cpSync(original.path, folder.path, { recursive: true, force: false });
    return folder;
  }

  /** The one that is initialised by the program, and what that said. Not to be served. */
  static original(): Promise<Original> {
    original ??= PlatformFolder.make().then(async (folder) => {
      const names = ['localhost', '127.0.0.1'].flatMap((name) => ['--self-signed', name]);
      return { folder, init: await folder.run('init', ...names, '--sample-images') };
    });
    return original;
  }

  /** @param settings entries of the configuration beside those that a test needs anyway */
  static async make(settings: Record<string, object> = {}): Promise<PlatformFolder> {
    const folder = new PlatformFolder(await makeSigner('operator'));
    mkdirSync(folder.path);
    onTestFinished(() => folder.#killCvms());
    writeFileSync(join(folder.path, 'operator.pub'), publicKeyLine(folder.operator.publicKey));
    const { driver, ...rest } = settings;
    const all = {
      grpc: { listen: '127.0.0.1:0' },
      web: { listen: '127.0.0.1:0' },
      metrics: { listen: '127.0.0.1:0' },
      operator_key_files: ['operator.pub'],
      driver: { agent_program: join(root, 'dist/test/fakes/agent-program.js'), ...driver },
      ...rest,
    };
    writeFileSync(folder.config, stringify(all));
    return folder;
  }

  /** What a failed test leaves running. */
  #killCvms(): void {
    const cvms = join(this.path, 'cvms');
    for (const id of existsSync(cvms) ? readdirSync(cvms) : []) {
      for (const file of ['machine.pid', 'agent.pid']) {
        const identity = readIdentity(join(cvms, id, file));
        if (identity !== undefined) killGroup(identity);
      }
    }
  }

  /** Runs the program to its end. */
  async run(...args: string[]): Promise<Output> {
    const child = spawn(process.execPath, [program, ...args, '--config', this.config]);
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
  async serve(): Promise<PlatformProcess> {
    const child = spawn(process.execPath, [program, 'serve', '--config', this.config], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const addresses: string[] = [];
    let all = '';
    await new Promise<void>((resolve, reject) => {
      child.once('exit', () => reject(new Error(`the platform did not come up: ${all}`)));
      child.stderr?.on('data', (chunk: Buffer) => {
        appendFileSync(logFile('platform'), chunk);
        if (addresses.length === 3) return;
        all += chunk;
        for (const line of all.split('\n').slice(0, -1)) {
          const { msg, address } = JSON.parse(line) as { msg?: string; address?: string };
          if (/(grpc|web|observe) port open/.test(msg ?? '') && !addresses.includes(address!))
            addresses.push(address!);
        }
        if (addresses.length === 3) resolve();
      });
    });
    return new PlatformProcess(this, child, addresses as [string, string, string]);
  }
}

/** A platform that serves. */
export class PlatformProcess {
  readonly child: ChildProcess;
  readonly #folder: PlatformFolder;
  readonly #addresses: readonly [grpc: string, web: string, observe: string];

  constructor(folder: PlatformFolder, child: ChildProcess, addresses: [string, string, string]) {
    this.#folder = folder;
    this.child = child;
    this.#addresses = addresses;
  }

  /** "host:port" of metrics and health. */
  get observeAddress(): string {
    return this.#addresses[2];
  }

  async client<S extends DescService>(
    service: S,
    by: Signer,
    port: 'grpc' | 'web' = 'grpc',
  ): Promise<Client<S>> {
    const authorization = await bearer(by, 'cvm-platform', Date.now());
    const nodeOptions = { ca: readFileSync(join(this.#folder.path, 'tls.crt')) };
    const interceptors: Parameters<typeof createGrpcTransport>[0]['interceptors'] = [
      (next) => (request) => {
        request.header.set('authorization', authorization);
        return next(request);
      },
    ];
    const [grpc, web] = this.#addresses;
    const transport: Transport =
      port === 'grpc'
        ? createGrpcTransport({ baseUrl: `https://${grpc}`, nodeOptions, interceptors })
        : createConnectTransport({
            baseUrl: `https://${web}`,
            httpVersion: '1.1',
            nodeOptions,
            interceptors,
          });
    return createClient(service, transport);
  }

  /** Registers a tenant and gives its client. */
  async tenant(tenant: Signer): Promise<Client<typeof CvmService>> {
    const operator = await this.client(TenantService, this.#folder.operator);
    const signingKey = encodeCoseKey(tenant.publicKey);
    await operator.registerTenant({ tenant: { tenantId: tenant.name, signingKey } });
    return this.client(CvmService, tenant);
  }

  /** @returns the exit code */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const ended = new Promise<number | null>((resolve) => this.child.once('exit', resolve));
    this.child.kill(signal);
    return ended;
  }
}
