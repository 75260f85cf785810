import { describe, expect, test } from 'vitest';
import { tenantService } from '#server/host/callers/tenants.js';
import { createObservation } from '#server/host/observe/observation.js';
import { bearer } from '../../../fakes/callers.js';
import { noFacts } from '../../../fakes/tenants.js';
import { audience, startTestHost } from '../harness.js';
import { RawClient } from '../raw-client.js';

async function start() {
  const observation = createObservation();
  const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)], {
    observation,
  });
  const ask = async (path: string, method = 'GET') => {
    const answer = await fetch(`http://${t.host.observeAddress}${path}`, { method });
    return { status: answer.status, body: await answer.text() };
  };
  return { t, ask, observation };
}

const listTenants = 'cvmp.v1.TenantService/ListTenants';

describe('the port for who watches', () => {
  test('/metrics counts each call by method and code, and names no tenant', async () => {
    const { t, ask } = await start();
    const client = new RawClient(t.host.grpcAddress, t.certificate);
    await client.unary(listTenants, new Uint8Array());
    await client.unary(listTenants, new Uint8Array(), await bearer(t.acme, audience, Date.now()));
    await client.unary(
      listTenants,
      new Uint8Array(),
      await bearer(t.operator, audience, Date.now()),
    );
    const { body } = await ask('/metrics');
    for (const code of ['OK', 'TOKEN_MISSING', 'NOT_ALLOWED']) {
      expect(body).toContain(`cvmp_calls_total{method="${listTenants}",code="${code}"} 1\n`);
    }
    expect(body).toContain(`cvmp_call_seconds_count{method="${listTenants}"} 3\n`);
    expect(body).toContain('cvmp_connections{port="grpc"} 1\n');
    expect(body).toMatch(/cvmp_tls_certificate_expiry_timestamp_seconds \d{10}\n/);
    expect(body).not.toMatch(/acme|globex|127\.0\.0\.1/);
  });

  test('/livez and /readyz without TLS; the reason is a metric too', async () => {
    const { t, ask } = await start();
    expect(await ask('/livez')).toEqual({ status: 200, body: '{"status":"LIVE"}\n' });
    expect((await ask('/readyz')).status).toBe(200);
    t.host.readiness.set('STORE_WRITE', true);
    const body = '{"status":"NOT_SERVING","reasons":["STORE_WRITE"]}\n';
    expect(await ask('/readyz')).toEqual({ status: 503, body });
    const metrics = (await ask('/metrics')).body;
    expect(metrics).toContain('\ncvmp_ready 0\n');
    expect(metrics).toContain('cvmp_not_ready{reason="STORE_WRITE"} 1\n');
  });

  test('nothing else is there, and nothing can be posted', async () => {
    const { ask } = await start();
    expect((await ask('/')).status).toBe(404);
    expect((await ask('/metrics', 'POST')).status).toBe(405);
  });
});
