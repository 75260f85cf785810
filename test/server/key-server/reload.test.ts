import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { selfSigned } from '#server/host/self-signed.js';
import { makeSigner } from '../../fakes/callers.js';
import { RawAgent } from '../../fakes/raw-agent.js';
import { canary } from '../../run-folder.js';
import { admittedGuest } from './admitted-guest.js';
import { KeyServerFolder } from './process.js';

describe('cvmp-key-server reload (issue 4, 7)', () => {
  test('new connections see the new certificate; open sessions go on; a wrong file changes nothing', async () => {
    const folder = await KeyServerFolder.initialised();
    const acme = await makeSigner('acme');
    const server = await folder.serve();
    const launched = await admittedGuest(folder, server, acme);
    const agentBy = async (ca: string) => {
      const agent = await RawAgent.connect({ ...launched, address: server.address, ca });
      onTestFinished(() => agent.close());
      return agent;
    };
    const oldCertificate = folder.certificate;
    const agent = await agentBy(oldCertificate);
    await agent.attest();
    const alloc = async () => {
      const answer = await agent.ask({ case: 'keyAlloc', value: {} });
      if (answer.case === 'keyAlloc') canary(answer.value.securityKey);
      return answer.case;
    };
    expect(await alloc()).toBe('keyAlloc');

    const next = await selfSigned(['localhost', '127.0.0.1'], Date.now());
    writeFileSync(join(folder.path, 'tls.crt'), next.certificate);
    // Certificate and key of two pairs: refused, and the running server keeps its own.
    const mixed = await folder.run('reload');
    expect(mixed.code).toBe(1);
    expect(mixed.stderr).toContain('certificate and key do not fit');
    await expect(agentBy(next.certificate)).rejects.toThrow();
    (await agentBy(oldCertificate)).close();

    writeFileSync(join(folder.path, 'tls.key'), next.key);
    appendFileSync(folder.config, 'log_level: warn\nidentity_key_file: other.pub\n');
    const taken = await folder.run('reload');
    expect(taken).toMatchObject({ code: 0, stderr: '' });
    expect(taken.stdout).toBe('applied: log_level\nneed a restart: identity_key_file\n');
    await (await agentBy(next.certificate)).attest();
    await expect(agentBy(oldCertificate)).rejects.toThrow();
    expect(await alloc()).toBe('keyAlloc');

    // Nobody's root any more: what attests now is refused, what has attested goes on.
    const config = readFileSync(folder.config, 'utf8').replace('- ark.pem', '[]');
    writeFileSync(
      folder.config,
      config.replace(/trust_anchor_files:\s*\[\]/, 'trust_anchor_files: []'),
    );
    expect((await folder.run('reload')).stdout).toContain('applied: verifier.trust_anchor_files');
    const stranger = await agentBy(next.certificate);
    await expect(stranger.attest()).rejects.toMatchObject({
      code: expect.stringMatching(/^[A-Z_]+$/),
    });
    expect(await alloc()).toBe('keyAlloc');
    expect((await server.client(PolicyService, acme).listKeyPolicies({})).policies).toHaveLength(1);
    await server.end('SIGTERM');
  });
});
