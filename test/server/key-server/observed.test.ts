import { describe, expect, onTestFinished, test } from 'vitest';
import { toHex } from '#core/bytes.js';
import { makeSigner } from '../../fakes/callers.js';
import { startCollector } from '../../fakes/otlp-collector.js';
import { RawAgent } from '../../fakes/raw-agent.js';
import { canary } from '../../run-folder.js';
import { admittedGuest } from './admitted-guest.js';
import { KeyServerFolder } from './process.js';

describe('a real Key Server, observed (issue 4, 7)', () => {
  test('metrics and traces tell what it does, and name no tenant, CVM or key', async () => {
    const collector = await startCollector();
    const traces = { otlp_url: collector.url, sample_one_in: 1, export_seconds: 1 };
    const folder = await KeyServerFolder.initialised({ traces });
    const acme = await makeSigner('acme');
    const server = await folder.serve();
    const launched = await admittedGuest(folder, server, acme);
    const options = { ...launched, address: server.address, ca: folder.certificate };
    const agent = await RawAgent.connect(options);
    onTestFinished(() => agent.close());
    await agent.attest();
    const made = await agent.ask({ case: 'keyAlloc', value: {} });
    if (made.case !== 'keyAlloc') throw new Error(made.case);
    const { keyId, securityKey } = made.value;
    canary(securityKey);
    await agent.ask({ case: 'keyAcquire', value: { keyId } });
    const unknown = { keyId: new Uint8Array(16) };
    expect((await agent.ask({ case: 'keyAcquire', value: unknown })).case).toBe('error');

    const ask = async (path: string) => fetch(`http://${server.observeAddress}${path}`);
    const metrics = await (await ask('/metrics')).text();
    expect(await (await ask('/readyz')).json()).toEqual({ status: 'SERVING', reasons: [] });
    expect(await server.end('SIGTERM')).toBe(0);

    const samples = [
      'cvmp_key_requests_total{operation="keyAlloc",code="OK"} 1',
      'cvmp_key_requests_total{operation="keyAcquire",code="OK"} 1',
      'cvmp_key_requests_total{operation="keyAcquire",code="NOT_FOUND"} 1',
      'cvmp_key_request_seconds_count{operation="keyAcquire"} 2',
      'cvmp_attestations_total{format="snp",code="OK"} 1',
      'cvmp_decisions_total{operation="attest",code="OK"} 1',
      'cvmp_decisions_total{operation="key_acquire",code="NOT_FOUND"} 1',
      'cvmp_sessions 1',
      'cvmp_sealed 0',
      'cvmp_ready 1',
    ];
    for (const sample of samples) expect(metrics).toContain(`\n${sample}\n`);
    expect(metrics).toMatch(/\ncvmp_store_commit_seconds_count [1-9]/);

    const names = new Set(collector.spans.map(({ name }) => name));
    const steps = ['attestation', 'evidence.open', 'evidence.verify', 'endorsements.obtain'];
    const rest = ['policy.find', 'policy.appraise', 'decision.record', 'keyAlloc', 'store.commit'];
    expect([...names]).toEqual(expect.arrayContaining([...steps, ...rest]));
    const session = collector.spans.find(({ name }) => name === 'cvmp.v1.KeyService/Session');
    const request = collector.spans.find(({ name }) => name === 'keyAlloc');
    expect(request).toMatchObject({ traceId: session?.traceId, parentSpanId: session?.spanId });

    const told = metrics + collector.bodies.join();
    for (const name of [
      'acme',
      'web-1',
      toHex(keyId),
      Buffer.from(keyId).toString('base64'),
      '127.0.0.1',
    ]) {
      expect(told.includes(name), name).toBe(false);
    }
  });
});
