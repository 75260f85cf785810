import { once } from 'node:events';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';
import { describe, expect, test } from 'vitest';
import { tenantService } from '#server/host/callers/tenants.js';
import { noFacts } from '../../fakes/tenants.js';
import { startTestHost, type TestHost } from './harness.js';

interface HealthClient {
  check(
    request: { service: string },
    done: (e: Error | null, a?: { status: string }) => void,
  ): void;
  watch(request: { service: string }): NodeJS.ReadableStream & { cancel(): void };
  close(): void;
}

function healthClient(t: TestHost): HealthClient {
  const loaded = loadPackageDefinition(loadSync(protoPath, { enums: String })) as never as {
    grpc: { health: { v1: { Health: new (...a: unknown[]) => HealthClient } } };
  };
  return new loaded.grpc.health.v1.Health(
    t.host.grpcAddress,
    credentials.createSsl(Buffer.from(t.certificate)),
    { 'grpc.ssl_target_name_override': 'localhost' },
  );
}

const check = (client: HealthClient, service: string): Promise<string> =>
  new Promise((resolve) => {
    client.check({ service }, (error, answer) =>
      resolve(
        error === null
          ? (answer?.status ?? '')
          : `error ${(error as never as { code: number }).code}`,
      ),
    );
  });

describe('grpc.health.v1', () => {
  test('the server and each service; an unknown one is NOT_FOUND; no token needed', async () => {
    const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)]);
    const client = healthClient(t);
    expect(await check(client, '')).toBe('SERVING');
    expect(await check(client, 'cvmp.v1.TenantService')).toBe('SERVING');
    expect(await check(client, 'cvmp.v1.KeyService')).toBe('error 5');
    t.host.readiness.set('STORE_WRITE', true);
    expect(await check(client, '')).toBe('NOT_SERVING');
    client.close();
  });

  test('a watcher is told of the change', async () => {
    const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)]);
    const client = healthClient(t);
    const watch = client.watch({ service: '' });
    watch.on('error', () => undefined);
    const [first] = await once(watch, 'data');
    t.host.readiness.set('STORE_WRITE', true);
    const [second] = await once(watch, 'data');
    expect([first.status, second.status]).toEqual(['SERVING', 'NOT_SERVING']);
    watch.cancel();
    client.close();
  });
});
