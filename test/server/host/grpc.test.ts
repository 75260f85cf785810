import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { encodeCoseKey } from '#core/cose/key.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { bearer, makeSigner } from '../../fakes/callers.js';
import { noFacts } from '../../fakes/tenants.js';
import { audience, startTestHost, type TestHost } from './harness.js';

function tenantClient(t: TestHost) {
  return createClient(
    TenantService,
    createGrpcTransport({
      baseUrl: `https://${t.host.grpcAddress}`,
      nodeOptions: { ca: t.certificate },
    }),
  );
}

async function detailOf(work: Promise<unknown>) {
  const error = ConnectError.from(
    await work.then(
      () => undefined,
      (e) => e,
    ),
  );
  return {
    code: error.code,
    message: error.rawMessage,
    detail: error.findDetails(ErrorDetailSchema)[0],
  };
}

describe('gRPC port', () => {
  test('an operator registers a tenant', async () => {
    const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)]);
    const client = tenantClient(t);
    const headers = { authorization: await bearer(t.operator, audience, Date.now()) };
    const newcomer = await makeSigner('newcomer');
    const answer = await client.registerTenant(
      { tenant: { tenantId: 'newcomer', signingKey: encodeCoseKey(newcomer.publicKey) } },
      { headers },
    );
    expect(answer.tenant?.thumbprint.length).toBe(32);
    const list = await client.listTenants({}, { headers });
    expect(list.tenants.map((x) => x.tenantId)).toEqual(['acme', 'globex', 'newcomer']);
    const refused = await detailOf(client.listTenants({}));
    expect(refused.code).toBe(Code.Unauthenticated);
  });
});
