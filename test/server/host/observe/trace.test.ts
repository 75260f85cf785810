import { describe, expect, test } from 'vitest';
import { tenantService } from '#server/host/callers/tenants.js';
import { createLog } from '#server/host/log.js';
import { createObservation } from '#server/host/observe/observation.js';
import { readTraceParent } from '#server/host/observe/trace.js';
import { bearer } from '../../../fakes/callers.js';
import { startCollector } from '../../../fakes/otlp-collector.js';
import { noFacts } from '../../../fakes/tenants.js';
import { audience, startTestHost } from '../harness.js';
import { RawClient } from '../raw-client.js';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';

describe('traceparent (W3C Trace Context s.3.2)', () => {
  test.each([
    ['sampled', `00-${traceId}-${spanId}-01`, { traceId, spanId, isSampled: true }],
    ['not sampled', `00-${traceId}-${spanId}-00`, { traceId, spanId, isSampled: false }],
    ['a later version', `cc-${traceId}-${spanId}-01-x`, { traceId, spanId, isSampled: true }],
    ['none', undefined, undefined],
    ['version ff', `ff-${traceId}-${spanId}-01`, undefined],
    ['more than version 00 has', `00-${traceId}-${spanId}-01-x`, undefined],
    ['a trace of zeros', `00-${'0'.repeat(32)}-${spanId}-01`, undefined],
    ['a span of zeros', `00-${traceId}-${'0'.repeat(16)}-01`, undefined],
    ['upper case', `00-${traceId.toUpperCase()}-${spanId}-01`, undefined],
    ['cut off', `00-${traceId}-${spanId}`, undefined],
  ])('%s', (_what, header, expected) => {
    expect(readTraceParent(header)).toEqual(expected);
  });
});

const settings = { exportSeconds: 300, timeoutSeconds: 5, queueMax: 100, sampleOneIn: 1 };

async function start(change: Partial<typeof settings> = {}) {
  const collector = await startCollector();
  const log = createLog('test', 'silent');
  const observation = createObservation(
    { ...settings, ...change, url: collector.url },
    { service: audience, log },
  );
  const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)], {
    observation,
  });
  const client = new RawClient(t.host.grpcAddress, t.certificate);
  return { collector, observation, t, client };
}

const listTenants = 'cvmp.v1.TenantService/ListTenants';

describe('traces over OTLP', () => {
  test('a call is a server span in the trace of its client; log and span have one request id', async () => {
    const { collector, observation, t, client } = await start();
    const token = await bearer(t.operator, audience, Date.now());
    const parent = { traceparent: `00-${traceId}-${spanId}-01` };
    await client.unary(listTenants, new Uint8Array(), token, parent);
    await observation.close();
    const [span] = collector.spans;
    expect(span).toMatchObject({
      service: audience,
      traceId,
      parentSpanId: spanId,
      name: listTenants,
      kind: 2,
      status: { code: 1 },
    });
    expect(BigInt(span!.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span!.startTimeUnixNano));
    const id = span!.attributes.find(({ key }) => key === 'cvmp.request_id')?.value.stringValue;
    const line = t.log.find((text) => text.includes('call served'));
    expect(JSON.parse(line ?? '')).toMatchObject({ request_id: id, trace_id: traceId });
  });

  test('a refused call says its code and nothing of who called', async () => {
    const { collector, observation, t, client } = await start();
    await client.unary(listTenants, new Uint8Array(), await bearer(t.acme, audience, Date.now()));
    await observation.close();
    expect(collector.spans[0]?.status).toEqual({ code: 2, message: 'NOT_ALLOWED' });
    expect(collector.bodies.join()).not.toMatch(/acme|127\.0\.0\.1|Bearer/);
  });

  test('a client that does not sample is not recorded; of others one in so many', async () => {
    const { collector, observation, client } = await start({ sampleOneIn: 3 });
    const parent = { traceparent: `00-${traceId}-${spanId}-00` };
    await client.unary(listTenants, new Uint8Array(), undefined, parent);
    for (let i = 0; i < 6; i++) await client.unary(listTenants, new Uint8Array());
    await observation.close();
    expect(collector.spans).toHaveLength(2);
  });

  test('what the collector does not take is dropped and counted; calls do not notice', async () => {
    const { collector, observation, client } = await start({ queueMax: 2 });
    collector.answer = 503;
    for (let i = 0; i < 5; i++) await client.unary(listTenants, new Uint8Array());
    await observation.close();
    expect(collector.spans).toEqual([]);
    expect(observation.metrics.text()).toContain('cvmp_trace_spans_dropped_total 5\n');
  });

  test('off, nothing is made', () => {
    expect(createObservation().tracer).toBeUndefined();
  });
});
