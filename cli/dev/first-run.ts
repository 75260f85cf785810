import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { createKeyFile } from '../profile/key-file.js';
import { parsePublicKey, profileText, publicKeyText } from '../profile/profile.js';
import { type DevLayout, type DevPorts, devLayout, devTenant, socketFolder } from './layout.js';
import { initProgram } from './program.js';
import { claim } from './running.js';

const loopback = '127.0.0.1';
const selfSigned = ['localhost', loopback, '::1'].flatMap((name) => ['--self-signed', name]);

/**
 * Makes everything that two servers and one tenant need: stores, keys, certificates, sample images,
 * the simulated hardware's root, a profile. All of it appears at once, or not at all.
 * @param data folder that does not exist yet
 * The folder is then claimed by this process.
 * @throws CvmpError CONFIG where a server cannot initialise, STORE_LOCKED
 */
export async function firstRun(data: string, ports: DevPorts): Promise<void> {
  const partial = `${data}.partial`;
  const layout = devLayout(partial);
  await mkdir(partial, { recursive: true, mode: 0o700 });
  await claim(layout.running, data);
  // Left behind by a first run that was cut off; nothing in it was ever used.
  for (const name of await readdir(partial)) {
    const path = join(partial, name);
    if (path !== layout.running) await rm(path, { recursive: true });
  }
  for (const folder of [layout.log, layout.keyServer.folder, layout.platform.folder]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  await writeOperator(layout);
  await writeFile(layout.platform.config, platformConfig(ports, socketFolder(data)));
  await initProgram('cvmp-platform', layout.platform.config, ['--sample-images', ...selfSigned]);
  await writeFile(layout.keyServer.config, keyServerConfig(ports));
  await initProgram('cvmp-key-server', layout.keyServer.config, selfSigned);
  await writeTenant(layout, ports);
  await rename(partial, data);
}

async function writeOperator(layout: DevLayout): Promise<void> {
  const key = await createKeyFile(join(dirname(layout.profile), 'operator-key.pem'), 'P-256');
  const publicKey = { curve: key.curve, point: key.publicPoint };
  await writeFile(layout.operatorPublicKey, `${publicKeyText(publicKey)}\n`);
}

/** Relative paths are relative to the config's folder, so that the whole can be moved. */
function serverConfig(name: string, grpc: number, web: number) {
  return {
    name,
    grpc: { listen: `${loopback}:${grpc}` },
    web: { listen: `${loopback}:${web}` },
    metrics: { listen: 'off' },
    operator_key_files: ['../operator.pub'],
  };
}

function keyServerConfig(ports: DevPorts): string {
  const { keyServer, keyServerWeb } = ports;
  return stringify({
    ...serverConfig('key-server', keyServer, keyServerWeb),
    // Evidence of the simulated hardware is verified like any other, under this root.
    verifier: { trust_anchor_files: ['../platform/hardware/ark.pem'] },
  });
}

function platformConfig(ports: DevPorts, runFolder: string): string {
  return stringify({
    ...serverConfig('cvm-platform', ports.platform, ports.platformWeb),
    driver: { kind: 'simulated', run_folder: runFolder },
    // Ctrl-C leaves no process behind; cvmp cvm start opens the disks again.
    guests: { on_exit: 'stop' },
  });
}

async function writeTenant(layout: DevLayout, ports: DevPorts): Promise<void> {
  const folder = dirname(layout.profile);
  const key = await createKeyFile(join(folder, 'tenant-key.pem'), 'P-256');
  await createKeyFile(join(folder, 'id-block-key.pem'), 'P-384');
  const publicKey = { curve: key.curve, point: key.publicPoint };
  await writeFile(join(folder, `${devTenant}.pub`), `${publicKeyText(publicKey)}\n`);
  const identity = await readFile(layout.keyServer.identity, 'utf8');
  const text = profileText({
    tenant: devTenant,
    tenantKey: 'tenant-key.pem',
    idBlockKey: 'id-block-key.pem',
    operatorKey: 'operator-key.pem',
    trustAnchors: ['platform/hardware/ark.pem'],
    keyServer: {
      address: `${loopback}:${ports.keyServer}`,
      name: 'key-server',
      tlsCa: 'key-server/tls.crt',
      identityKey: parsePublicKey(identity, layout.keyServer.identity),
    },
    platform: {
      address: `${loopback}:${ports.platform}`,
      name: 'cvm-platform',
      tlsCa: 'platform/tls.crt',
    },
  });
  await writeFile(layout.profile, text);
}
