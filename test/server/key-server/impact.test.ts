import { describe, expect, test } from 'vitest';
import type { ServerMessage } from '#gen/cvmp/v1/key_pb.js';
import { impactMessage, impactOf } from '#server/key-server/impact/impact.js';
import type { RawAgent } from '../../fakes/raw-agent.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { signedPolicy } from './state.js';

const alloc = { case: 'keyAlloc' as const, value: {} };

async function attested(s: TestKeyServer): Promise<RawAgent> {
  const agent = await s.agent(await s.launch());
  await agent.attest();
  return agent;
}

function keyIdOf(response: ServerMessage['response']): Uint8Array {
  if (response.case !== 'keyAlloc') throw new Error(`${response.case}`);
  return response.value.keyId;
}

/** What the next version of "web" would change. */
async function impactOfNext(
  s: TestKeyServer,
  changes: Parameters<typeof signedPolicy>[1],
  policyId = 'web',
) {
  const { guest } = await s.launch();
  const measurements = [{ digest: guest.measurement, imageSvn: 1, name: 'image' }];
  const current = policyId === 'web' ? await s.state.policies.get('acme', 'web', 0) : undefined;
  const signed = await signedPolicy(s.tenantKey, {
    policyId,
    version: BigInt((current?.policy.version ?? 0) + 1),
    ...(current === undefined ? {} : { prevDigest: current.digest }),
    appraisal: { allowSimulated: true, snp: { measurements } },
    ...changes,
  });
  const tried = await s.state.policies.tryOut('acme', signed);
  expect(tried.outcome.accepted).toBe(false);
  return impactOf('acme', tried, { ...s.state, now: () => s.place.now });
}

describe('what a policy would change, before anything changes (protocol.md s.6.4 (6))', () => {
  test('open sessions and keys lose by a floor, with the reason of each', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    s.processor.configure({ tcb: { ...s.processor.settings.tcb, snp: 2 } });
    const old = await attested(s);
    const keyId = keyIdOf(await old.ask(alloc));
    s.processor.configure({ tcb: { ...s.processor.settings.tcb, snp: 24 } });
    await attested(s);
    const impact = await impactOfNext(s, { svnFloor: 3 });
    expect(impact).toMatchObject({ agentsTested: 2, agentsLosing: 1, agentsGaining: 0 });
    expect(impact).toMatchObject({ keysTested: 1, keysLosing: 0, keysRaised: 1, partial: false });
    expect(impact.agents).toMatchObject([
      { cvmName: 'web-1', change: 'loses', levelBefore: 2, levelAfter: 2 },
    ]);
    expect(impact.agents[0]?.reasons[0]?.code).toBe('SVN_BELOW_FLOOR');
    expect(impact.keys).toMatchObject([
      { keyId, change: 'floor raised', floorBefore: 1, floorAfter: 3 },
    ]);
    expect(impactMessage(impact).agents[0]?.keyIds.map((id) => new Uint8Array(id))).toEqual([
      keyId,
    ]);
    // Nothing changed.
    expect((await s.state.policies.get('acme', 'web', 0)).policy.version).toBe(1);
    expect(old.notices).toEqual([]);
  });

  test('a denied chip, check by check; and who gains it back', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    await attested(s);
    const { guest } = await s.launch();
    const measurements = [{ digest: guest.measurement, imageSvn: 1, name: 'image' }];
    const chipDeny = [s.processor.chip.chipId];
    const denying = { allowSimulated: true, snp: { measurements, chipDeny } };
    const impact = await impactOfNext(s, { appraisal: denying });
    expect(impact.agents).toMatchObject([{ change: 'loses', levelBefore: 4, levelAfter: 4 }]);
    expect(impact.agents[0]?.reasons).toMatchObject([
      { code: 'POLICY_CHIP', check: 'snp.chip-deny' },
    ]);
    const current = await s.state.policies.get('acme', 'web', 0);
    const changes = { version: 2n, prevDigest: current.digest, appraisal: denying };
    await s.state.policies.set('acme', await signedPolicy(s.tenantKey, changes), {
      requestId: 'test',
    });
    const back = await impactOfNext(s, {});
    expect(back).toMatchObject({ agentsGaining: 1, agentsLosing: 0 });
    expect(back.agents[0]?.reasons[0]?.check).toBe('snp.chip-deny');
  });

  test('a policy that takes a CVM from another one takes its keys away', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const keyId = keyIdOf(await (await attested(s)).ask(alloc));
    const impact = await impactOfNext(s, { cvmNames: ['web-1'] }, 'web-one');
    expect(impact.keys).toMatchObject([{ keyId, change: 'loses' }]);
    expect(impact).toMatchObject({ keysLosing: 1, agentsLosing: 0 });
  });

  test('what a version breaks is refused as by set', async () => {
    const s = await startKeyServer();
    await s.setPolicy({ svnFloor: 2 });
    await expect(impactOfNext(s, { svnFloor: 1 })).rejects.toMatchObject({
      code: 'POLICY_NOT_TIGHTER',
    });
  });
});
