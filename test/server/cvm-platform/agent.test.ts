import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { thumbprint } from '#core/cose/key.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { tenantVerifyReportData } from '#core/rats/tenant-verify.js';
import { parseSnpCollection } from '#core/snp/evidence.js';
import { crypto } from '#crypto';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { type Cvm, CvmState } from '#gen/cvmp/v1/platform_pb.js';
import { readPublicKey } from '#server/host/config/files.js';
import { makeSigner } from '../../fakes/callers.js';
import { logFile } from '../../run-folder.js';
import { PlatformFolder } from './process.js';
import { createRequest, type PlatformClient } from './service-harness.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const driver = { agent_program: join(root, 'dist/agent/main.js') };
const keyServerProgram = join(root, 'dist/server/key-server/main.js');

/** The first state of the CVM that satisfies the condition. */
async function until(client: PlatformClient, condition: (cvm: Cvm) => boolean): Promise<Cvm> {
  for await (const { cvm } of client.cVMWatch({ cvm: 'web' })) {
    if (condition(cvm!)) return cvm!;
  }
  throw new Error('the watch ended');
}

/** A port that nobody listens on. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function startProgram(program: string, ...args: string[]): ChildProcess {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

/** A Key Server that admits the platform's simulated hardware and knows no policy. */
async function startKeyServer(platform: PlatformFolder) {
  const folder = join(platform.path, 'ks');
  const config = join(folder, 'key-server.yaml');
  mkdirSync(folder);
  writeFileSync(
    config,
    stringify({
      grpc: { listen: '127.0.0.1:0' },
      web: { listen: '127.0.0.1:0' },
      metrics: { listen: '127.0.0.1:0' },
      verifier: { trust_anchor_files: [join(platform.path, 'hardware', 'ark.pem')] },
    }),
  );
  const init = startProgram(
    keyServerProgram,
    'init',
    '--self-signed',
    'localhost',
    '--config',
    config,
  );
  await new Promise((resolve) => init.once('exit', resolve));
  const serving = startProgram(keyServerProgram, 'serve', '--config', config);
  const address = await new Promise<string>((resolve, reject) => {
    let all = '';
    serving.once('exit', () => reject(new Error(all)));
    serving.stderr?.on('data', (chunk) => {
      appendFileSync(logFile('key-server'), chunk);
      all += chunk;
      const line = all.split('\n').find((text) => text.includes('grpc port open'));
      if (line !== undefined) resolve((JSON.parse(line) as { address: string }).address);
    });
  });
  return { address, identity: readPublicKey(join(folder, 'identity.pub'), 'identity') };
}

describe('a real Key Agent in a simulated CVM', () => {
  test('its status is followed, its evidence relayed, and it hears a stop', async () => {
    const folder = await PlatformFolder.initialised({ driver });
    const platform = await folder.serve();
    const tenant = await makeSigner('acme');
    const acme = await platform.tenant(tenant);
    const configDocument = encodeConfigDocument({
      tenantId: 'acme',
      keyServers: [new Uint8Array(32).fill(1)],
      policyAnchor: thumbprint(tenant.publicKey),
      cvmName: 'web',
    });
    const keyServerAddress = `127.0.0.1:${await closedPort()}`;
    const request = await createRequest(acme, { configDocument, keyServerAddress });
    const { cvms } = await acme.cVMCreate(request);
    await acme.cVMStart({ cvm: 'web' });
    const cvm = await until(acme, ({ agent }) => agent?.phase === AgentPhase.RETRYING);
    expect(cvm).toMatchObject({ state: CvmState.RUNNING, agent: { code: 'UNAVAILABLE' } });

    const nonce = crypto.randomBytes(32);
    const { evidence } = await acme.cVMVerify({ cvm: 'web', nonce });
    const { report } = parseSnpCollection(decodeCmw(evidence!.cmwCollection));
    expect(report.reportData).toEqual(tenantVerifyReportData(nonce, configDocument));
    expect(report.hostData).toEqual(cvms[0]!.configDocumentDigest);
    expect(report.measurement).toEqual(cvms[0]!.predictedMeasurement);

    const { cvm: stopped } = await acme.cVMStop({ cvm: 'web' });
    expect(stopped).toMatchObject({ state: CvmState.STOPPED, message: '' });
    await platform.end('SIGTERM');
  });

  test('what the Key Server refuses it with is its last word, and why the CVM failed', async () => {
    const folder = await PlatformFolder.initialised({ driver });
    const keyServer = await startKeyServer(folder);
    const platform = await folder.serve();
    const tenant = await makeSigner('acme');
    const acme = await platform.tenant(tenant);
    const configDocument = encodeConfigDocument({
      tenantId: 'acme',
      keyServers: [thumbprint(keyServer.identity)],
      policyAnchor: thumbprint(tenant.publicKey),
      cvmName: 'web',
    });
    const keyServerAddress = keyServer.address;
    await acme.cVMCreate(await createRequest(acme, { configDocument, keyServerAddress }));
    await acme.cVMStart({ cvm: 'web' });
    const cvm = await until(acme, ({ state }) => state === CvmState.FAILED);
    expect(cvm.message).toMatch(/^the guest ended with exit code 10: NO_POLICY /);
    const { agent } = await until(acme, ({ agent }) => agent?.phase === AgentPhase.REFUSED);
    expect(agent?.code).toBe('NO_POLICY');
    const console = join(folder.path, 'cvms', cvm.cvmId, 'console.log');
    expect(readFileSync(console, 'utf8')).toContain('NO_POLICY');
    await platform.end('SIGTERM');
  });
});
