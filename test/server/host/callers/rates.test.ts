import { describe, expect, test } from 'vitest';
import { encodeCoseKey } from '#core/cose/key.js';
import type { CvmpError } from '#core/errors.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { CallRates, type RateSettings } from '#server/host/callers/rates.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { bearer, makeSigner, operatorCaller, tenantCaller } from '../../../fakes/callers.js';
import { MemoryTenants, noFacts } from '../../../fakes/tenants.js';
import { refusalOf } from '../../../refusal.js';
import { audience, startTestHost } from '../harness.js';
import { RawClient } from '../raw-client.js';

const settings: RateSettings = {
  callsPerMinutePerAddressMax: 60,
  callsPerMinutePerTenantMax: 6,
  attestationCostPerMinuteMax: 20,
};

async function rates() {
  const clock = { now: 0 };
  const tenants = new MemoryTenants();
  const { publicKey } = await makeSigner('acme');
  for (const name of ['acme', 'globex']) await tenants.register(name, encodeCoseKey(publicKey));
  return {
    clock,
    tenants,
    rates: new CallRates(
      () => settings,
      tenants,
      () => clock.now,
    ),
  };
}

const peer = '192.0.2.1:4711';
const other = '192.0.2.2:4711';

async function admitted(times: number, once: () => unknown): Promise<number> {
  let count = 0;
  for (let i = 0; i < times; i++) {
    const outcome = await refusalOf(async () => once());
    if (outcome === 'accepted') count += 1;
    else expect(outcome).toBe('RATE');
  }
  return count;
}

describe('rates of calls (issue 4: limits)', () => {
  test('each address has its own minute, whatever its ports', async () => {
    const { rates: r, clock } = await rates();
    expect(await admitted(70, () => r.admitAddress(peer))).toBe(60);
    expect(await admitted(1, () => r.admitAddress('192.0.2.1:4712'))).toBe(0);
    expect(await admitted(70, () => r.admitAddress(other))).toBe(60);
    clock.now = 1001;
    expect(await admitted(2, () => r.admitAddress(peer))).toBe(1);
  });

  test('refused credentials cost twenty calls, and debt has an end', async () => {
    const { rates: r, clock } = await rates();
    for (let i = 0; i < 100; i++) r.refused(peer);
    expect(await admitted(1, () => r.admitAddress(peer))).toBe(0);
    clock.now = 60_000;
    expect(await admitted(1, () => r.admitAddress(peer))).toBe(0);
    clock.now = 61_001;
    expect(await admitted(1, () => r.admitAddress(peer))).toBe(1);
  });

  test('each tenant has its own minute, and an operator sets it anew', async () => {
    const { rates: r, tenants } = await rates();
    expect(await admitted(10, () => r.admitCaller(tenantCaller('acme')))).toBe(6);
    expect(await admitted(10, () => r.admitCaller(tenantCaller('globex')))).toBe(6);
    expect(await admitted(10, () => r.admitCaller(operatorCaller))).toBe(10);
    await tenants.change('acme', 'limit_tenant', (tenant) => ({
      ...tenant,
      limits: { callsPerMinuteMax: 1 },
    }));
    expect(await admitted(10, () => r.admitCaller(tenantCaller('acme')))).toBe(0);
  });

  test('a refusal says when to come again', async () => {
    const { rates: r } = await rates();
    await admitted(60, () => r.admitAddress(peer));
    try {
      r.admitAddress(peer);
      expect.unreachable();
    } catch (error) {
      expect((error as CvmpError).retryAfterMs).toBe(1000);
    }
  });

  test('evidence costs what verifying it costs, refused evidence twice that', async () => {
    const { rates: r, clock } = await rates();
    expect(await admitted(5, () => r.admitAttestation(peer, 10))).toBe(2);
    expect(await admitted(5, () => r.admitAttestation(other, 5))).toBe(4);
    clock.now = 120_000;
    r.admitAttestation(peer, 10);
    r.attestationFailed(peer, 10);
    expect(await admitted(1, () => r.admitAttestation(peer, 1))).toBe(0);
  });

  test('evidence that costs more than a minute holds is verified once a minute', async () => {
    const { rates: r, clock } = await rates();
    expect(await admitted(3, () => r.admitAttestation(peer, 50))).toBe(1);
    clock.now = 60_000;
    expect(await admitted(3, () => r.admitAttestation(peer, 50))).toBe(1);
  });
});

const list = 'cvmp.v1.TenantService/ListTenants';
const health = 'grpc.health.v1.Health/Check';

test('over the wire: RATE with retry_after; health goes on', async () => {
  const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)], {
    rates: { ...settings, callsPerMinutePerAddressMax: 25 },
  });
  const client = new RawClient(t.host.grpcAddress, t.certificate);
  const authorization = await bearer(t.operator, audience, Date.now());
  expect(await client.unary(list, new Uint8Array(), authorization)).toMatchObject({ code: 0 });
  // A token of nobody: one call and twenty for guessing.
  expect(await client.unary(list, new Uint8Array(), 'Bearer AAAA')).toMatchObject({ code: 16 });
  const outcomes = [];
  for (let i = 0; i < 6; i++)
    outcomes.push(await client.unary(list, new Uint8Array(), authorization));
  const refused = outcomes.find((one) => one.code === 8 && 'detail' in one);
  if (refused === undefined || !('detail' in refused)) throw new Error('nothing was refused');
  expect(refused.detail?.code).toBe('RATE');
  expect(refused.detail?.retryAfter?.seconds).toBeGreaterThanOrEqual(0n);
  expect(ErrorDetailSchema.field.retryAfter.message?.typeName).toBe('google.protobuf.Duration');
  expect(await client.unary(health, new Uint8Array())).toMatchObject({ code: 0 });
});
