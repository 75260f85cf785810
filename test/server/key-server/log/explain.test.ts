import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { reappraise } from '#cli/audit/reappraise.js';
import { readSigned } from '#cli/policy/signed-policy.js';
import { ecPublicKey } from '#core/cose/key.js';
import { openCheckpoint, parseCheckpoint, signCheckpoint } from '#core/log/checkpoint.js';
import { decodeLogRecord } from '#core/log/record.js';
import {
  AuditService,
  type ExplainAuditEntryResponse,
  ExplainAuditEntryResponseSchema,
} from '#gen/cvmp/v1/audit_pb.js';
import { auditService } from '#server/key-server/audit-service.js';
import { policyOf } from '#wire/policy.js';
import { type RawAgent, refusedWith } from '../../../fakes/raw-agent.js';
import { refusalOf } from '../../../refusal.js';
import { startKeyServer, type TestKeyServer } from '../harness.js';

const alloc = { case: 'keyAlloc' as const, value: {} };

/** What ExplainAuditEntry answers for a tenant's record. */
async function explained(s: TestKeyServer, index: number): Promise<ExplainAuditEntryResponse> {
  const { methods } = auditService(s.state);
  const explain = methods.find(({ method }) => method.name === 'ExplainAuditEntry')!;
  const context = { caller: { role: 'tenant', tenantId: 'acme' } };
  const handler = explain.handler as (request: object, context: object) => Promise<object>;
  const answer = await handler({ index: BigInt(index) }, context);
  return create(ExplainAuditEntryResponseSchema, answer);
}

async function again(s: TestKeyServer, index: number, change: object = {}) {
  const kept = { ...(await explained(s, index)), ...change } as ExplainAuditEntryResponse;
  const policy = kept.signedPolicy.length === 0 ? undefined : readSigned(kept.signedPolicy);
  return reappraise(decodeLogRecord(kept.record), kept, policy && policyOf(policy));
}

async function whole(agent: RawAgent, request: Parameters<RawAgent['request']>[0]) {
  agent.request(request);
  return agent.receive();
}

/** Index of the newest record of an operation. */
async function newest(s: TestKeyServer, operation: string): Promise<number> {
  const { items } = await s.state.log.list('acme', { pageSize: 100, pageToken: '' });
  return items.find((record) => record.operation === operation)!.index;
}

describe('a stored decision is taken again by the same code (protocol.md s.6.5)', () => {
  test('an attestation that was granted, and the key released on it', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    await agent.ask(alloc);
    const attested = await again(s, await newest(s, 'attest'));
    expect(attested).toMatchObject({ differences: [], result: { accepted: true, level: 4 } });
    const released = await again(s, await newest(s, 'key_alloc'));
    expect(released.differences).toEqual([]);
    expect(released.reasons.join()).toContain('level 4 is at or above the floor 1');
  });

  test('a refusal, with every check that failed', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch({ cmdline: 'console=evil' }));
    await agent.attest().catch(() => undefined);
    const refused = await again(s, await newest(s, 'attest'));
    expect(refused.differences).toEqual([]);
    expect(refused.result).toMatchObject({ accepted: false });
    expect(refused.result?.failures[0]?.code).toBe('POLICY_MEASUREMENT');
  });

  test('it is taken at its own time, under its own policy', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    const index = await newest(s, 'attest');
    const before = decodeLogRecord((await explained(s, index)).record);
    expect(before).toMatchObject({ policyId: 'web', policyVersion: 1, evidenceFormat: 'snp' });
    expect(before.endorsementDigests?.length).toBe((await explained(s, index)).endorsements.length);
    expect(Number((await explained(s, index)).appraisedAt)).toBeLessThanOrEqual(before.time);
  });

  test('other evidence, another policy or a false record contradict each other', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    const index = await newest(s, 'attest');
    const kept = await explained(s, index);
    const other = kept.cmwCollection.slice();
    other[other.length - 1]! ^= 1;
    const swapped = await again(s, index, { cmwCollection: other });
    expect(swapped.differences.join()).toContain('the evidence is not the one');
    const less = await again(s, index, { endorsements: kept.endorsements.slice(1) });
    const named = decodeLogRecord(kept.record).endorsementDigests ?? [];
    expect(less.differences.length).toBe(named.length > 1 ? 1 : 0);
  });

  test('evidence that is gone leaves its digest', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    s.place.now += 32 * 86_400_000;
    const index = await newest(s, 'attest');
    while (await s.state.evidence.prune());
    const gone = await explained(s, index);
    expect(gone.cmwCollection.length).toBe(0);
    expect(decodeLogRecord(gone.record).evidenceDigest?.length).toBe(32);
    expect(await again(s, index)).toMatchObject({ result: undefined, differences: [] });
  });

  test('nobody else is told', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const index = await newest(s, 'set_key_policy');
    const { methods } = auditService(s.state);
    for (const { method, handler } of methods) {
      if (method.name !== 'ExplainAuditEntry' && method.name !== 'ProveInclusion') continue;
      const work = (handler as (r: object, c: object) => Promise<object>)(
        { index: BigInt(index), size: 0n },
        { caller: { role: 'tenant', tenantId: 'globex' } },
      );
      expect(await refusalOf(work)).toBe('NOT_FOUND');
    }
    expect(AuditService.typeName).toBe('cvmp.v1.AuditService');
  });
});

describe('checkpoints of a running Key Server (protocol.md s.6.2, s.6.4)', () => {
  test('every answer that decides carries one, newer than the one before', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    const { identity } = s.state;
    const keyServer = ecPublicKey(identity.curve, identity.publicPoint);
    const sizes = [];
    const grant = await agent.attest();
    sizes.push(await openCheckpoint(grant.checkpoint, keyServer));
    const made = await whole(agent, alloc);
    sizes.push(await openCheckpoint(made.checkpoint, keyServer));
    const refused = await whole(agent, {
      case: 'keyAcquire',
      value: { keyId: new Uint8Array(16), svn: 0 },
    });
    expect(refused.response.case).toBe('error');
    sizes.push(await openCheckpoint(refused.checkpoint, keyServer));
    const found = sizes.map(({ size }) => size);
    expect(found).toEqual([...found].sort((a, b) => a - b));
    expect(new Set(found).size).toBe(3);
  });

  test('an agent that shows one from the future stops the server for everybody', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    const newest = await s.state.log.newest();
    const future = await signCheckpoint(s.state.identity, { ...newest, size: newest.size + 5 });
    expect(parseCheckpoint(future.signed).size).toBe(newest.size + 5);
    const shown = s.state.guard.continueFrom([future.signed]);
    expect(await refusalOf(shown)).toBe('SERVER_ROLLBACK');
    const answer = await whole(agent, alloc);
    expect(answer.response).toMatchObject({ case: 'error', value: { code: 'SERVER_ROLLBACK' } });
    const late = await s.agent(await s.launch());
    expect(await refusedWith(late.attest())).toBe('SERVER_ROLLBACK');
  });
});
