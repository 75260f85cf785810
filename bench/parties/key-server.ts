import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create, toBinary } from '@bufbuild/protobuf';
import { stringify } from 'yaml';
import { ecPublicKey, encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { crypto } from '#crypto';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { openState } from '#server/key-server/release/open.js';
import { readMasterKeyFile } from '#server/key-server/store/master-key.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import { policyType, signTyped } from '#wire/signed-policy.js';
import type { Cvm } from './agent.js';
import { launchGuest } from './hardware.js';
import { type ServerProcess, startServer } from './processes.js';

/** The built program, also where this file runs from source. */
const program = fileURLToPath(
  new URL(
    '../../dist/server/key-server/main.js',
    import.meta.url.replace(/\/dist(?=\/bench\/)/, ''),
  ),
);
const tenantId = 'bench';

/** The real Key Server program, in its own process, over a real store. */
export interface KeyServerParty {
  readonly process: ServerProcess;
  /** "host:port" of the gRPC port. */
  readonly address: string;
  readonly tls: { readonly certificateFile: string; readonly keyFile: string };
  /** PEM. */
  readonly ca: string;
  /** A CVM that its policy admits. */
  readonly cvm: Cvm;
}

/**
 * Initialises and starts one, with a tenant whose policy admits the CVMs of this processor.
 * @param nodeOptions for its process, as --cpu-prof
 */
export async function startKeyServer(
  folder: string,
  processor: SecurityProcessor,
  nodeOptions: readonly string[] = [],
): Promise<KeyServerParty> {
  mkdirSync(folder);
  const configFile = join(folder, 'key-server.yaml');
  writeFileSync(join(folder, 'ark.der'), processor.chip.authority.arkCertificate);
  writeFileSync(
    configFile,
    stringify({
      grpc: { listen: '127.0.0.1:0', handshakes_per_minute_max: 1_000_000 },
      web: { listen: '127.0.0.1:0' },
      metrics: { listen: '127.0.0.1:0' },
      verifier: { trust_anchor_files: ['ark.der'] },
    }),
  );
  execFileSync(
    process.execPath,
    [program, 'init', '--config', configFile, '--self-signed', 'localhost'],
    { stdio: 'ignore' },
  );
  const cvm = await addTenant(folder, processor);
  const server = await startServer([...nodeOptions, program, 'serve', '--config', configFile], 2);
  const tls = { certificateFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  return {
    process: server,
    address: server.addresses[0]!,
    tls,
    ca: readFileSync(tls.certificateFile, 'utf8'),
    cvm,
  };
}

/** Registers a tenant with one policy, straight in the store before the server opens it. */
async function addTenant(folder: string, processor: SecurityProcessor): Promise<Cvm> {
  const { randomBytes } = crypto;
  const masterKey = readMasterKeyFile(join(folder, 'master.key'));
  const state = await openState(join(folder, 'store'), { masterKey, now: Date.now, randomBytes });
  try {
    const key = await crypto.generateEcKey('P-256');
    const publicKey = ecPublicKey(key.curve, key.publicPoint);
    const { identity } = state;
    const configDocument = encodeConfigDocument({
      tenantId,
      keyServers: [thumbprint(ecPublicKey(identity.curve, identity.publicPoint))],
      policyAnchor: thumbprint(publicKey),
      cvmName: 'bench-1',
    });
    const guest = await launchGuest(processor, configDocument);
    const policy = create(SetKeyPolicySchema, {
      tenantId,
      policyId: 'bench',
      version: 1n,
      cvmNames: ['bench-*'],
      appraisal: {
        allowSimulated: true,
        snp: { measurements: [{ digest: guest.measurement, imageSvn: 1, name: 'image' }] },
      },
      levels: [{ n: 1, snp: { tcbMin: [{ product: 'Genoa', tcb: { snp: 1 } }] } }],
      svnFloor: 1,
      keyRules: { keysMax: 100_000 },
    });
    const call = { requestId: 'bench' };
    await state.tenants.register(tenantId, encodeCoseKey(publicKey), call);
    await state.policies.set(
      tenantId,
      await signTyped(key, policyType, toBinary(SetKeyPolicySchema, policy)),
      call,
    );
    return { guest, configDocument };
  } finally {
    await state.close();
  }
}
