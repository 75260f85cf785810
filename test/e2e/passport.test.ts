import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Attester } from '#agent/attester/attester.js';
import { passportAttester } from '#agent/attester/passport.js';
import { createKeyFile } from '#cli/profile/key-file.js';
import { toHex } from '#core/bytes.js';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { decodeCmw, encodeCmw } from '#core/rats/cmw.js';
import { snpCollection } from '#core/snp/evidence.js';
import { toPem } from '#core/x509/pem.js';
import { EarStatus } from '#gen/cvmp/v1/ear_rules_pb.js';
import { refusedWith } from '../fakes/raw-agent.js';
import { simulatedAuthority } from '../fakes/simulated-hardware.js';
import { canary, temporaryFolder } from '../run-folder.js';
import { type Launched, startKeyServer, type TestKeyServer } from '../server/key-server/harness.js';
import { signedPolicy } from '../server/key-server/state.js';
import { repository } from './dev-stack.js';

// The agent's attester asks the real `cvmp ear appraise`, and shows its EAR to a Key Server over TLS.

const folder = temporaryFolder('passport');
const path = (name: string) => join(folder, name);
let verifierKey: Uint8Array;

beforeAll(async () => {
  const key = await createKeyFile(path('verifier.key'), 'P-256');
  verifierKey = encodeCoseKey(ecPublicKey(key.curve, key.publicPoint));
  const { arkCertificate } = await simulatedAuthority();
  writeFileSync(path('root.pem'), toPem('CERTIFICATE', arkCertificate));
  const cli = join(repository, 'dist/cli/main.js');
  writeFileSync(
    path('get-ear'),
    `#!/bin/sh
exec ${process.execPath} ${cli} ear appraise - --policy ${path('verifier.yaml')} \\
  --ear-key ${path('verifier.key')} --trust-anchors ${path('root.pem')}
`,
  );
  chmodSync(path('get-ear'), 0o755);
});

function verifierPolicy(measurement: Uint8Array): void {
  writeFileSync(
    path('verifier.yaml'),
    `policy_id: verifier
cvm_names: ["*"]
svn_floor: 1
appraisal:
  allow_simulated: true
  snp: {measurements: [{digest: ${toHex(measurement)}, image_svn: 2}]}
levels: [{n: 1, snp: {}}, {n: 2, snp: {image_svn_min: 2}}]
`,
  );
}

async function keyServer(): Promise<TestKeyServer> {
  const server = await startKeyServer();
  const signed = await signedPolicy(server.tenantKey, {
    appraisal: {
      allowSimulated: true,
      ear: { verifiers: [{ name: 'ours', keys: [verifierKey], status: EarStatus.WARNING }] },
    },
    levels: [1, 2, 3].map((n) => ({ n, ear: { levelMin: n } })),
  });
  await server.state.policies.set('acme', signed, { requestId: 'test' });
  return server;
}

/** An agent with ear.program, on simulated hardware. */
function agentOf(server: TestKeyServer, { guest, configDocument }: Launched, reuseMs: number) {
  const hardware: Attester = {
    profiles: ['snp'],
    async evidence(reportData) {
      const { report, certTable } = await guest.report({ reportData, vmpl: 0 });
      return encodeCmw(snpCollection(report, certTable));
    },
    close: () => {},
  };
  const attester = passportAttester(
    hardware,
    { target: { kind: 'program', path: path('get-ear') }, deadlineMs: 60_000, reuseMs },
    { configDocument, monotonic: () => performance.now() },
  );
  const collection = async (data: Uint8Array) => decodeCmw(await attester.evidence(data));
  return () => server.agent({ configDocument, evidence: { profile: 'ear', collection } });
}

describe('an agent whose evidence is appraised elsewhere (RFC 9334 s.5.1)', () => {
  test.each([
    ['for each session', 0],
    ['for many sessions', 600_000],
  ])('a result %s releases the same key again', async (_what, reuseMs) => {
    const server = await keyServer();
    const launched = await server.launch();
    verifierPolicy(launched.guest.measurement);
    const connect = agentOf(server, launched, reuseMs);
    const first = await connect();
    expect((await first.attest()).response).toMatchObject({ case: 'grant', value: { level: 2 } });
    const made = await first.ask({ case: 'keyAlloc', value: {} });
    if (made.case !== 'keyAlloc') throw new TypeError(`answered by ${made.case}`);
    canary(made.value.securityKey);
    const second = await connect();
    await second.attest();
    const { keyId, securityKey } = made.value;
    const again = await second.ask({ case: 'keyAcquire', value: { keyId } });
    expect(again).toMatchObject({ case: 'keyAcquire', value: { securityKey } });
  });

  test('what the verifier refuses is contraindicated, and releases nothing', async () => {
    const server = await keyServer();
    const launched = await server.launch();
    verifierPolicy(new Uint8Array(48).fill(1));
    const agent = await agentOf(server, launched, 0)();
    expect(await refusedWith(agent.attest())).toBe('POLICY_RESULT');
  });
});
