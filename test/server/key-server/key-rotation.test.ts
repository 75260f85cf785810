import { describe, expect, test } from 'vitest';
import { checkGrant } from '#agent/session/grant.js';
import { sessionGrant } from '#agent/session/released.js';
import { thumbprint } from '#core/cose/key.js';
import { signRotation } from '#core/cose/key-rotation.js';
import { withNextKey } from '#server/host/callers/tenants.js';
import { makeSigner, type Signer } from '../../fakes/callers.js';
import { refusalOf } from '../../refusal.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { call, signedPolicy } from './state.js';

/** acme's next key in the place of its key, by its own word or by an operator's. */
async function change(s: TestKeyServer, from: Signer, to: Signer, by: 'tenant' | 'operator') {
  const rotation =
    by === 'tenant' ? await signRotation('acme', from.key, to.key, 1) : new Uint8Array();
  await s.state.tenants.change(
    'acme',
    by === 'tenant' ? 'rotate_tenant_key' : 'replace_tenant_key',
    (tenant) => withNextKey(tenant, to.publicKey, rotation),
    call,
  );
}

/** Attests a guest of this anchor, and holds the grant against its config document as agents do. */
async function attest(s: TestKeyServer, policyAnchor: Uint8Array): Promise<string> {
  const launched = await s.launch({ policyAnchor });
  const agent = await s.agent(launched);
  return refusalOf(async () => {
    const { response } = await agent.attest();
    if (response.case !== 'grant') throw new Error(`no grant but ${response.case}`);
    await checkGrant(sessionGrant(response.value), launched.configDocument);
  });
}

async function nextVersion(s: TestKeyServer, by: Signer): Promise<string> {
  const current = await s.state.policies.get('acme', 'web', 0);
  const { guest } = await s.launch();
  const signed = await signedPolicy(by.key, {
    version: BigInt(current.policy.version) + 1n,
    prevDigest: current.digest,
    appraisal: {
      allowSimulated: true,
      snp: { measurements: [{ digest: guest.measurement, imageSvn: 1, name: 'image' }] },
    },
  });
  return refusalOf(s.state.policies.set('acme', signed, call));
}

describe('rotation of a tenant key (docs/decisions: callers and tenants)', () => {
  test('CVMs that anchor the old key are served on, under policies by old and new key', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const [next, third] = await Promise.all([makeSigner('acme'), makeSigner('acme')]);
    const old = thumbprint(s.t.acme.publicKey);
    await change(s, s.t.acme, next, 'tenant');
    expect(await attest(s, old)).toBe('accepted');
    expect(await nextVersion(s, s.t.acme)).toBe('SIGNATURE_INVALID');
    expect(await nextVersion(s, next)).toBe('accepted');
    expect(await attest(s, old)).toBe('accepted');
    expect(await attest(s, thumbprint(next.publicKey))).toBe('accepted');
    await change(s, next, third, 'tenant');
    expect(await nextVersion(s, third)).toBe('accepted');
    expect(await attest(s, old)).toBe('accepted');
  });

  test('CVMs that anchor the new key are not served under a policy by the old one', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const next = await makeSigner('acme');
    await change(s, s.t.acme, next, 'tenant');
    // The server admits it; the agent sees no word of its anchor for that signer.
    expect(await attest(s, thumbprint(next.publicKey))).toBe('SERVER_UNTRUSTED');
  });

  test('what an operator put in its place no old anchor leads to', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const next = await makeSigner('acme');
    await change(s, s.t.acme, next, 'operator');
    const old = thumbprint(s.t.acme.publicKey);
    await expect(attest(s, old)).rejects.toThrow(/CONFIG_MISMATCH/);
  });

  test('an agent takes no rotation that its anchor did not sign', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const [next, mallory] = await Promise.all([makeSigner('acme'), makeSigner('acme')]);
    const forged = await signRotation('acme', mallory.key, next.key, 1);
    await s.state.tenants.change(
      'acme',
      'rotate_tenant_key',
      (tenant) => withNextKey(tenant, next.publicKey, forged),
      call,
    );
    expect(await nextVersion(s, next)).toBe('accepted');
    expect(await attest(s, thumbprint(s.t.acme.publicKey))).toBe('SERVER_UNTRUSTED');
  });
});
