import { describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { trustAnchors } from '#server/key-server/verifier/anchors.js';
import { heldEndorsements } from '#server/key-server/verifier/held.js';
import {
  azureSnpMachine,
  azureTdxMachine,
  ccaMachine,
  ekMachine,
  type Machine,
  machineTime,
  svsmMachine,
  tdxMachine,
  tpmMachine,
} from '../../fakes/machines.js';
import { type OtherEvidence, refusedWith } from '../../fakes/raw-agent.js';
import { FakeTpm } from '../../fakes/tpm.js';
import { canary } from '../../run-folder.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { signedPolicy } from './state.js';

const rows: [string, () => Promise<Machine>][] = [
  ['TDX 1.0', () => tdxMachine(4, false)],
  ['TDX 1.5 with its collateral', () => tdxMachine(5, true)],
  ['TPM by AK certificate', tpmMachine],
  ['TPM by EK on P-256', () => ekMachine('P-256')],
  ['TPM by RSA EK', () => ekMachine('rsa')],
  ['Azure on SEV-SNP', azureSnpMachine],
  ['Azure on TDX', azureTdxMachine],
  ['Arm CCA', ccaMachine],
  ['SVSM that names the EK', () => svsmMachine(0)],
  ['SVSM that names the AK', () => svsmMachine(1)],
];

/** A Key Server whose configuration and policy are made for this machine. */
async function serverFor({ files, policy }: Machine): Promise<TestKeyServer> {
  const { roots = [], tpmMakers = [], held = [] } = files;
  const server = await startKeyServer(
    {},
    { anchors: trustAnchors({ roots, tpmMakers }), endorsements: heldEndorsements(held) },
  );
  server.place.now = machineTime;
  const { appraisal, level } = policy;
  await setPolicy(server, appraisal, level);
  return server;
}

/** The next version of policy "web". */
async function setPolicy(
  { state, tenantKey }: TestKeyServer,
  appraisal: Machine['policy']['appraisal'],
  level: Machine['policy']['level'],
): Promise<void> {
  const current = await state.policies.get('acme', 'web', 0).catch(() => undefined);
  const signed = await signedPolicy(tenantKey, {
    appraisal,
    levels: [{ n: 1, ...level }],
    version: BigInt(current?.policy.version ?? 0) + 1n,
    ...(current === undefined ? {} : { prevDigest: current.digest }),
  });
  await state.policies.set('acme', signed, { requestId: 'test' });
}

async function agentOf(server: TestKeyServer, machine: Machine, change?: Partial<OtherEvidence>) {
  const configDocument = server.configDocument();
  const evidence = { ...machine.evidence(configDocument), ...change };
  return server.agent({ configDocument, evidence });
}

describe('a Keying Policy releases keys to every format of evidence (protocol.md s.6.2, s.6.8)', () => {
  it.each(rows)('%s: allocate, and acquire in another session', async (_, make) => {
    const machine = await make();
    const server = await serverFor(machine);
    const first = await agentOf(server, machine);
    const { response } = await first.attest();
    expect(response).toMatchObject({ case: 'grant', value: { level: 1 } });
    const made = await first.ask({ case: 'keyAlloc', value: {} });
    if (made.case !== 'keyAlloc') throw new TypeError(`answered by ${made.case}`);
    canary(made.value.securityKey);
    first.close();
    const second = await agentOf(server, machine);
    await second.attest();
    const { keyId } = made.value;
    const got = await second.ask({ case: 'keyAcquire', value: { keyId } });
    if (got.case !== 'keyAcquire') throw new TypeError(`answered by ${got.case}`);
    expect(toHex(got.value.securityKey)).toBe(toHex(made.value.securityKey));
  });

  it.each(rows)('%s: a config document of the host is refused', async (_, make) => {
    const machine = await make();
    const server = await serverFor(machine);
    const decoy = server.configDocument({ cvmName: 'web-2' });
    const agent = await server.agent({
      configDocument: decoy,
      evidence: machine.evidence(server.configDocument()),
    });
    expect(await refusedWith(agent.attest())).toBe('CONFIG_MISMATCH');
  });

  it.each(rows)('%s: evidence of another session is refused', async (_, make) => {
    const machine = await make();
    const server = await serverFor(machine);
    const { collection } = machine.evidence(server.configDocument());
    const replayed = await collection(new Uint8Array(64).fill(1));
    const agent = await agentOf(server, machine, { collection: async () => replayed });
    expect(await refusedWith(agent.attest())).toBe('BINDING_MISMATCH');
  });

  it.each(rows)('%s: the rules of the policy are asked', async (_, make) => {
    const machine = await make();
    const server = await serverFor(machine);
    const { appraisal, code } = machine.stricter;
    await setPolicy(server, appraisal, machine.policy.level);
    const agent = await agentOf(server, machine);
    expect(await refusedWith(agent.attest())).toBe(code);
  });

  it('a policy for one format admits no other', async () => {
    const tdx = await tdxMachine(4, true);
    const { policy } = await ccaMachine();
    const server = await serverFor({ ...tdx, policy });
    const agent = await agentOf(server, tdx);
    expect(await refusedWith(agent.attest())).toBe('POLICY_REFUSED');
  });

  it('a root that the configuration adds is simulated in every format', async () => {
    const machine = await tdxMachine(4, true);
    const { allowSimulated: _, ...appraisal } = machine.policy.appraisal;
    const server = await serverFor({ ...machine, policy: { ...machine.policy, appraisal } });
    const agent = await agentOf(server, machine);
    expect(await refusedWith(agent.attest())).toBe('POLICY_SIMULATED');
  });
});

describe('resets of a TPM never become fewer (protocol.md s.4 step 7)', () => {
  it('a state of the TPM that was put back is refused, and recorded so', async () => {
    const machine = await ekMachine();
    const server = await serverFor(machine);
    const attest = async (resets: number) => {
      machine.tpm.resets = resets;
      const agent = await agentOf(server, machine);
      const code = await refusedWith(agent.attest());
      agent.close();
      return code;
    };
    expect(await attest(7)).toBe('accepted');
    expect(await attest(7)).toBe('accepted');
    expect(await attest(6)).toBe('TPM_ROLLED_BACK');
    expect(await attest(8)).toBe('accepted');
    expect(await attest(7)).toBe('TPM_ROLLED_BACK');
    const { items } = await server.state.log.list('acme', { pageSize: 20, pageToken: '' }, {});
    const attested = items.filter(({ operation }) => operation === 'attest');
    expect(attested.map(({ code }) => code ?? 'OK').sort()).toEqual([
      ...['OK', 'OK', 'OK'],
      ...['TPM_ROLLED_BACK', 'TPM_ROLLED_BACK'],
    ]);
  });

  it('what no policy admits is not kept', async () => {
    const machine = await ekMachine();
    const server = await serverFor(machine);
    const { appraisal, code } = machine.stricter;
    await setPolicy(server, appraisal, machine.policy.level);
    machine.tpm.resets = 9;
    expect(await refusedWith((await agentOf(server, machine)).attest())).toBe(code);
    await setPolicy(server, machine.policy.appraisal, machine.policy.level);
    machine.tpm.resets = 8;
    expect(await refusedWith((await agentOf(server, machine)).attest())).toBe('accepted');
  });
});

describe('credential activation on the wire (protocol.md s.4, AK trust a)', () => {
  it("the EK of an SVSM's manifest seals the credential; its AK is not trusted unopened", async () => {
    const machine = await svsmMachine(0);
    const server = await serverFor(machine);
    const agent = await agentOf(server, machine, { activate: async () => undefined });
    expect(await refusedWith(agent.attest())).toBe('AK_UNTRUSTED');
  });

  it('a TPM that cannot open the credential is refused', async () => {
    const machine = await ekMachine();
    const server = await serverFor(machine);
    const agent = await agentOf(server, machine, { activate: async () => undefined });
    expect(await refusedWith(agent.attest())).toBe('AK_UNTRUSTED');
  });

  it('an AK of another TPM than the EK: the credential does not open', async () => {
    const machine = await ekMachine();
    const server = await serverFor(machine);
    const other = new FakeTpm();
    const agent = await agentOf(server, machine, {
      activate: (blob, secret) => machine.ek.activate(other.akName(), blob, secret),
    });
    expect(await refusedWith(agent.attest())).toBe('AK_UNTRUSTED');
  });

  it('a leg that is left out ends the session', async () => {
    const machine = await ekMachine();
    const server = await serverFor(machine);
    const agent = await agentOf(server, machine);
    const reportData = await agent.challenge();
    const evidence = await agent.evidenceFor(reportData);
    agent.send('evidence', evidence);
    await agent.frame('credential');
    agent.send('sealed', new Uint8Array([1]));
    expect(await refusedWith(agent.frame('accept'))).toBe('PROTOCOL_ORDER');
  });

  it('an answer before there is a credential, or after its answer, ends the session', async () => {
    const machine = await ekMachine();
    const server = await serverFor(machine);
    const early = await agentOf(server, machine);
    await early.challenge();
    early.send('activation', new Uint8Array([0x0a, 32, ...new Uint8Array(32)]));
    expect(await refusedWith(early.frame('accept'))).toBe('PROTOCOL_ORDER');

    const late = await agentOf(server, machine);
    late.send('evidence', await late.evidenceFor(await late.challenge()));
    await late.activate();
    await late.session.accept(await late.frame('accept'));
    await late.receive();
    late.send('activation', new Uint8Array([0x0a, 32, ...new Uint8Array(32)]));
    expect(await refusedWith(late.receive())).toBe('PROTOCOL_ORDER');
  });

  it('an answer of another session is refused', async () => {
    const machine = await ekMachine();
    const server = await serverFor(machine);
    const answers = await Promise.all(
      [1, 2].map(async () => {
        const agent = await agentOf(server, machine);
        agent.send('evidence', await agent.evidenceFor(await agent.challenge()));
        const asked = await agent.session.credential(await agent.frame('credential'));
        const secret = await machine.evidence(server.configDocument()).activate!(
          asked.credentialBlob,
          asked.encryptedSecret,
        );
        return { agent, frame: agent.session.activation(secret!) };
      }),
    );
    const [a, b] = answers;
    a!.agent.send('activation', b!.frame);
    expect(await refusedWith(a!.agent.frame('accept'))).toBe('AK_UNTRUSTED');
  });

  it('an agent that leaves in the middle holds nothing up', async () => {
    const machine = await ekMachine();
    const server = await serverFor(machine);
    const gone = await agentOf(server, machine);
    gone.send('evidence', await gone.evidenceFor(await gone.challenge()));
    await gone.frame('credential');
    gone.close();
    const agent = await agentOf(server, machine);
    expect((await agent.attest()).response.case).toBe('grant');
  });

  it('an EK under no configured root is refused before any credential', async () => {
    const machine = await ekMachine();
    const server = await serverFor({ ...machine, files: {} });
    const agent = await agentOf(server, machine);
    agent.send('evidence', await agent.evidenceFor(await agent.challenge()));
    expect(await refusedWith(agent.frame('credential'))).toBe('UNTRUSTED_ROOT');
  });
});

describe('one instance at a time has a key, whatever the format (protocol.md s.6.4)', () => {
  it.each<[string, () => Promise<Machine>]>([
    ['TDX', () => tdxMachine(5, true)],
    ['Arm CCA', ccaMachine],
  ])('%s: by the key that a run of the agent made', async (_, make) => {
    const machine = await make();
    const server = await serverFor(machine);
    const { digest } = await server.state.policies.get('acme', 'web', 0);
    const signed = await signedPolicy(server.tenantKey, {
      appraisal: machine.policy.appraisal,
      levels: [{ n: 1, ...machine.policy.level }],
      version: 2n,
      prevDigest: digest,
      keyRules: { singleInstance: true },
    });
    await server.state.policies.set('acme', signed, { requestId: 'test' });
    const run = async (instanceKey: EcPrivateKey | undefined) => {
      const configDocument = server.configDocument();
      const evidence = machine.evidence(configDocument);
      const named = instanceKey === undefined ? {} : { instanceKey };
      const agent = await server.agent({ configDocument, evidence, ...named });
      await agent.attest();
      return agent;
    };
    const [key, other] = [await crypto.generateEcKey('P-256'), await crypto.generateEcKey('P-256')];
    const made = await (await run(key)).ask({ case: 'keyAlloc', value: {} });
    if (made.case !== 'keyAlloc') throw new TypeError(`answered by ${made.case}`);
    canary(made.value.securityKey);
    const { keyId } = made.value;
    const codes: string[] = [];
    for (const instanceKey of [key, other, undefined]) {
      const got = await (await run(instanceKey)).ask({ case: 'keyAcquire', value: { keyId } });
      codes.push(got.case === 'error' ? got.value.code : 'served');
    }
    expect(codes).toEqual(['served', 'INSTANCE_CONFLICT', 'POLICY_REFUSED']);
  });
});
