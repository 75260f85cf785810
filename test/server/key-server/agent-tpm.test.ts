import { describe, expect, onTestFinished, test } from 'vitest';
import type { Attester } from '#agent/attester/attester.js';
import { connectSession } from '#agent/session/client.js';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import { crypto } from '#crypto';
import { AkTrust } from '#gen/cvmp/v1/tpm_rules_pb.js';
import { trustAnchors } from '#server/key-server/verifier/anchors.js';
import { openOn } from '../../agent/attester/tpm-cvm.js';
import { eventLog, pcrsAfter, soundBoot } from '../../fakes/event-log.js';
import { type EkMachine, ekMachine, machineTime } from '../../fakes/machines.js';
import { Swtpm, swtpmMissing } from '../../fakes/swtpm.js';
import { refusalOf } from '../../refusal.js';
import { canary } from '../../run-folder.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { signedPolicy } from './state.js';

// The agent's own client against a real Key Server: credential activation over TLS.

const boot = soundBoot();
const uki = { pcrs: { 4: pcrsAfter(boot).get(4)! }, imageSvn: 1, name: 'uki' };

async function setPolicy(server: TestKeyServer, rules: object, allowSimulated: boolean) {
  const signed = await signedPolicy(server.tenantKey, {
    appraisal: { allowSimulated, tpm: { akTrust: [AkTrust.ACTIVATED_CREDENTIAL], ...rules } },
    levels: [{ n: 1, tpm: { imageSvnMin: 1 } }],
  });
  await server.state.policies.set('acme', signed, { requestId: 'test' });
}

async function session(server: TestKeyServer, attester: Attester, configDocument: Uint8Array) {
  const opened = await connectSession({
    keyServer: { host: '127.0.0.1', port: Number(server.t.host.grpcAddress.split(':').at(-1)) },
    ca: undefined,
    attester,
    configDocument,
    agentBuild: 'test',
    randomBytes: crypto.randomBytes,
  });
  onTestFinished(() => opened.close());
  return opened;
}

/** A new key, and the same again in another session. */
async function allocateAndAcquire(
  server: TestKeyServer,
  attester: Attester,
  configDocument: Uint8Array,
): Promise<void> {
  const first = await session(server, attester, configDocument);
  expect(first.grant).toMatchObject({ level: 1 });
  const requestId = crypto.randomBytes(16);
  const made = await first.alloc({ requestId, keyId: undefined, purpose: 'disk' });
  canary(made.key);
  first.close();
  const second = await session(server, attester, configDocument);
  const got = await second.acquire(made.keyId, undefined, 'boot');
  expect(toHex(got.key)).toBe(toHex(made.key));
}

describe('the agent activates its AK before anything is granted (protocol.md s.4, s.6.2)', () => {
  async function withEk(): Promise<{ machine: EkMachine; server: TestKeyServer }> {
    const machine = await ekMachine();
    const { tpmMakers = [] } = machine.files;
    const server = await startKeyServer({}, { anchors: trustAnchors({ roots: [], tpmMakers }) });
    server.place.now = machineTime;
    const { tpm } = machine.policy.appraisal;
    await setPolicy(server, tpm ?? {}, false);
    return { machine, server };
  }

  const attesterOf = (machine: EkMachine, document: Uint8Array): Attester => {
    const { collection, activate } = machine.evidence(document);
    return {
      profiles: ['tpm'],
      evidence: async (reportData) => encodeCmw(await collection(reportData)),
      async activateCredential(blob, encrypted) {
        const secret = await activate!(blob, encrypted);
        if (secret !== undefined) return secret;
        throw new CvmpError('AK_UNTRUSTED', 'the TPM refuses');
      },
      close: () => undefined,
    };
  };

  test('a TPM of a maker that the Key Server names is no simulation', async () => {
    const { machine, server } = await withEk();
    const document = server.configDocument();
    await allocateAndAcquire(server, attesterOf(machine, document), document);
  });

  test('an attester without a TPM to ask ends the session', async () => {
    const { machine, server } = await withEk();
    const document = server.configDocument();
    const { activateCredential: _, ...mute } = attesterOf(machine, document);
    expect(await refusalOf(session(server, mute, document))).toBe('UNSUPPORTED_EVIDENCE');
  });

  test('an answer that is no secret of this credential is refused by the server', async () => {
    const { machine, server } = await withEk();
    const document = server.configDocument();
    const guessing: Attester = {
      ...attesterOf(machine, document),
      activateCredential: async () => crypto.randomBytes(32),
    };
    expect(await refusalOf(session(server, guessing, document))).toBe('AK_UNTRUSTED');
  });
});

const without = swtpmMissing === undefined ? '' : ` (skipped: ${swtpmMissing} is missing)`;
describe.skipIf(swtpmMissing !== undefined)(`a real software TPM${without}`, () => {
  test('quote, event log, EK certificate and credential, up to the key', async () => {
    const tpm = await Swtpm.create();
    onTestFinished(() => tpm.powerOff());
    tpm.extend(boot);
    tpm.file('log', eventLog(boot, ['sha1', 'sha256', 'sha384']));
    const { certificates, anchor } = tpm.authority;
    const server = await startKeyServer(
      {},
      { anchors: [anchor], endorsements: () => ({ ...noEndorsements, certificates }) },
    );
    await setPolicy(server, { boot: { references: [uki] } }, true);
    const document = server.configDocument();
    const attester = await openOn(tpm, {}, document);
    onTestFinished(() => attester.close());
    await allocateAndAcquire(server, attester, document);
  }, 60_000);
});
