import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { thumbprint } from '#core/cose/key.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { AkTrust } from '#gen/cvmp/v1/tpm_rules_pb.js';
import { makeSigner, type Signer } from '../fakes/callers.js';
import { eventLog, type FakeEvent, pcrsAfter, soundBoot } from '../fakes/event-log.js';
import { Swtpm, swtpmMissing } from '../fakes/swtpm.js';
import { temporaryFolder } from '../run-folder.js';
import { KeyServerFolder, type KeyServerProcess } from '../server/key-server/process.js';
import { signedPolicy } from '../server/key-server/state.js';
import { repository, run } from './dev-stack.js';

// A CVM whose only witness is its TPM: real swtpm, real cvmp-agent, real cvmp-key-server.

const agentMain = join(repository, 'dist/agent/main.js');
const boot = soundBoot();
const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

async function manufactured(): Promise<Swtpm> {
  const tpm = await Swtpm.create();
  endings.push(() => tpm.powerOff());
  return tpm;
}

/** A Key Server that trusts the maker of this TPM, and the policy of acme for this boot. */
async function keyServer(maker: Swtpm, acme: Signer) {
  const [root, issuer] = ['swtpm-localca-rootca-cert.pem', 'issuercert.pem'].map((name) =>
    join(maker.folder, 'ca', name),
  );
  const folder = await KeyServerFolder.initialised({
    verifier: { tpm_root_files: [root], endorsement_files: [issuer] },
  });
  const server = await folder.serve();
  await server.register(acme);
  const pcrs = pcrsAfter(boot);
  const references = [0, 4, 7, 11].map((pcr) => [pcr, pcrs.get(pcr)!]);
  const signed = await signedPolicy(acme.key, {
    appraisal: {
      tpm: {
        boot: {
          references: [{ pcrs: Object.fromEntries(references), imageSvn: 1, name: 'uki-1' }],
        },
        akTrust: [AkTrust.ACTIVATED_CREDENTIAL],
      },
    },
    levels: [{ n: 1, tpm: { imageSvnMin: 1 } }],
  });
  await server.client(PolicyService, acme).setKeyPolicy({ signedPolicy: signed });
  return { folder, server };
}

/** What a CVM keeps over its boots beside the TPM: the config document and the disk. */
class Machine {
  readonly folder = temporaryFolder('machine');
  readonly #server: KeyServerProcess;

  constructor(server: KeyServerProcess, acme: Signer) {
    this.#server = server;
    this.setDocument(acme, 'web-1');
  }

  setDocument(acme: Signer, cvmName: string): void {
    const document = encodeConfigDocument({
      tenantId: 'acme',
      cvmName,
      keyServers: [thumbprint(this.#server.folder.identity)],
      policyAnchor: thumbprint(acme.publicKey),
    });
    writeFileSync(join(this.folder, 'config.cbor'), document);
  }

  /** Boots with this TPM; then the agent runs to the delivered key. */
  async boot(tpm: Swtpm, events: readonly FakeEvent[] = boot) {
    await tpm.restart();
    tpm.extend(events);
    writeFileSync(join(this.folder, 'log'), eventLog(events));
    return this.agent(tpm);
  }

  async agent(tpm: Swtpm): Promise<{ code: number | null; said: unknown }> {
    const path = join(this.folder, 'agent.yaml');
    const config = {
      key_server_address: this.#server.address,
      config_document_file: 'config.cbor',
      tpm: { swtpm_socket: tpm.socket, event_log_file: 'log', measure_log_file: 'measure' },
      disk: { path: 'disk', backend: 'volume', size_mib: 8 },
      state_dir: 'state',
      allow_persistent_files: true,
    };
    writeFileSync(path, stringify(config));
    const ran = await run(process.execPath, [agentMain, '--config', path, '--once']);
    const last = JSON.parse(ran.stderr.trim().split('\n').at(-1)!) as Record<string, unknown>;
    return { code: ran.code, said: last.code ?? last.disk_action };
  }
}

const withoutSwtpm = swtpmMissing === undefined ? '' : ` (skipped: ${swtpmMissing} is missing)`;

describe.skipIf(swtpmMissing !== undefined)(`a CVM with a TPM alone${withoutSwtpm}`, () => {
  test('its agent allocates a key under a TPM policy, acquires it after a reboot, and other boots, TPMs and documents do not', async () => {
    const tpm = await manufactured();
    const acme = await makeSigner('acme');
    const { server } = await keyServer(tpm, acme);
    onTestFinished(() => void server.end('SIGTERM'));
    const machine = new Machine(server, acme);

    // 1. Allocates and formats; 2. acquires and opens.
    expect(await machine.boot(tpm)).toEqual({ code: 0, said: 'formatted' });
    expect(await machine.boot(tpm)).toEqual({ code: 0, said: 'opened' });

    // 3. Another kernel.
    const other = [...boot, { ...boot.at(-1)!, register: 4 }];
    expect(await machine.boot(tpm, other)).toEqual({ code: 10, said: 'POLICY_MEASUREMENT' });

    // 4. Secure Boot off.
    const off = await machine.boot(tpm, soundBoot(0));
    expect(off.code).toBe(10);

    // 5. The admitted boot, on a TPM of another maker, whose CA has the same name.
    const foreign = await manufactured();
    expect(await machine.boot(foreign)).toEqual({ code: 10, said: 'CHAIN_INVALID' });

    // 6. A config document that comes after the one that was measured in this boot.
    expect(await machine.boot(tpm)).toEqual({ code: 0, said: 'opened' });
    machine.setDocument(acme, 'web-2');
    expect(await machine.agent(tpm)).toEqual({ code: 12, said: 'CONFIG_MISMATCH' });
  });
});
