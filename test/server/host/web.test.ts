import { type RequestOptions, request } from 'node:https';
import { fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { bindService } from '#server/host/handlers.js';
import { bearer, makeSigner } from '../../fakes/callers.js';
import { noFacts } from '../../fakes/tenants.js';
import { audience, startTestHost, type TestHost } from './harness.js';

const origin = 'https://console.example';

interface HttpAnswer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

function headerText({ headers }: HttpAnswer): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n');
}

/** Plain HTTP/1.1, no RPC library. */
function http(
  t: TestHost,
  path: string,
  options: RequestOptions,
  body: string | Buffer = '',
): Promise<HttpAnswer> {
  const [host, port] = t.host.webAddress.split(':');
  return new Promise((resolve, reject) => {
    const call = request(
      { host, port, path, ca: t.certificate, servername: 'localhost', agent: false, ...options },
      (answer) => {
        let text = '';
        answer.on('data', (chunk) => {
          text += chunk;
        });
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }),
        );
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}

const start = (origins: readonly string[] = []) =>
  startTestHost(({ tenants }) => [tenantService(tenants, noFacts)], { origins });

describe('web port (architecture.md s.3)', () => {
  test('HTTP/1.1 with JSON needs no RPC library', async () => {
    const t = await start();
    const headers = {
      'content-type': 'application/json',
      authorization: await bearer(t.operator, audience, Date.now()),
    };
    const path = '/cvmp.v1.TenantService/ListTenants';
    const answer = await http(t, path, { method: 'POST', headers }, '{"pageSize": 1}');
    expect(answer.status).toBe(200);
    const list = JSON.parse(answer.body);
    expect(list.tenants.map((x: { tenantId: string }) => x.tenantId)).toEqual(['acme']);
    expect(list.nextPageToken).not.toBe('');
  });

  test.each([
    ['Connect', createConnectTransport],
    ['gRPC-web', createGrpcWebTransport],
    ['gRPC', createGrpcTransport],
  ] as const)('%s over HTTP/2 speaks to the same handlers', async (_name, transport) => {
    const t = await start();
    const client = createClient(
      TenantService,
      transport({
        baseUrl: `https://${t.host.webAddress}`,
        httpVersion: '2',
        nodeOptions: { ca: t.certificate },
      }),
    );
    const headers = { authorization: await bearer(t.operator, audience, Date.now()) };
    const newcomer = await makeSigner('newcomer');
    await client.registerTenant(
      { tenant: { tenantId: 'newcomer', signingKey: encodeCoseKey(newcomer.publicKey) } },
      { headers },
    );
    const list = await client.listTenants({}, { headers });
    expect(list.tenants.map((tenant) => tenant.tenantId)).toContain('newcomer');

    const missing = await refusedWith(client.listTenants({}));
    expect(missing).toEqual([Code.Unauthenticated, 'TOKEN_MISSING', '']);
    const foreign = { authorization: await bearer(t.acme, audience, Date.now()) };
    const refused = await refusedWith(client.listTenants({}, { headers: foreign }));
    expect(refused).toEqual([Code.PermissionDenied, 'NOT_ALLOWED', '']);
    const invalid = await refusedWith(client.listTenants({ pageSize: 1001 }, { headers }));
    expect(invalid).toEqual([Code.InvalidArgument, 'INVALID_FIELD', 'page_size']);
  });

  test('a server stream reaches a browser protocol, and ends with the status of its error', async () => {
    const base = Object.fromEntries(CvmService.methods.map((m) => [m.localName, async () => ({})]));
    const t = await startTestHost(() => [
      bindService(CvmService, {
        ...base,
        async *cVMWatch() {
          yield { cvm: { name: 'one' } };
          yield { cvm: { name: 'two' } };
          throw new CvmpError('NOT_FOUND', 'no three');
        },
      } as never),
    ]);
    const client = createClient(
      CvmService,
      createGrpcWebTransport({
        baseUrl: `https://${t.host.webAddress}`,
        httpVersion: '1.1',
        nodeOptions: { ca: t.certificate },
      }),
    );
    const headers = { authorization: await bearer(t.acme, audience, Date.now()) };
    const names: (string | undefined)[] = [];
    const error = await refusedWith(
      (async () => {
        for await (const { cvm } of client.cVMWatch({}, { headers })) names.push(cvm?.name);
      })(),
    );
    expect(names).toEqual(['one', 'two']);
    expect(error).toEqual([Code.NotFound, 'NOT_FOUND', '']);
  });

  test.each([
    ['an unknown field', '{"surprise": 1}', 'INVALID_FIELD surprise'],
    ['a wrong type', '{"pageSize": "many"}', 'INVALID_FIELD page_size'],
    ['a number out of its type', '{"pageSize": 4294967296}', 'INVALID_FIELD page_size'],
    ['a number out of its range', '{"pageSize": 1001}', 'INVALID_FIELD page_size'],
    ['a field twice', '{"pageSize": 1, "pageSize": 1}', 'INVALID_FIELD pageSize'],
    ['a field in two spellings', '{"pageSize": 1, "page_size": 1}', 'INVALID_FIELD page_size'],
    ['a text too long', `{"pageToken": "${'a'.repeat(129)}"}`, 'INVALID_FIELD page_token'],
    ['truncated JSON', '{"pageSize": 1', 'MALFORMED '],
    ['a list', '[]', 'MALFORMED '],
  ])('JSON with %s is 400 and names the field', async (_what, body, expected) => {
    const t = await start();
    const headers = {
      'content-type': 'application/json',
      authorization: await bearer(t.operator, audience, Date.now()),
    };
    const path = '/cvmp.v1.TenantService/ListTenants';
    const answer = await http(t, path, { method: 'POST', headers }, body);
    expect(answer.status).toBe(400);
    const { code, details } = JSON.parse(answer.body);
    const { value } = details[0];
    const detail = fromBinary(ErrorDetailSchema, Buffer.from(value, 'base64'));
    expect(`${code}: ${detail.code} ${detail.field}`).toBe(`invalid_argument: ${expected}`);
  });

  const listTenants = '/cvmp.v1.TenantService/ListTenants';
  const twice = Buffer.from([0x08, 1, 0x08, 1]);
  const envelope = (message: Buffer) =>
    Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
  test.each([
    ['application/proto', twice],
    ['application/proto', Buffer.from([0xff])],
    ['application/grpc-web+proto', envelope(twice)],
    ['application/grpc-web+json', envelope(Buffer.from('{"x":1}'))],
    ['application/grpc-web+proto', envelope(twice).subarray(0, 7)],
  ])('%s with a fault is INVALID_ARGUMENT as on the gRPC port', async (type, body) => {
    const t = await start();
    const headers = {
      'content-type': type,
      authorization: await bearer(t.operator, audience, Date.now()),
    };
    const answer = await http(t, listTenants, { method: 'POST', headers }, body);
    const refused =
      answer.status === 400 || /grpc-status: 3/.test(answer.body + headerText(answer));
    expect(refused).toBe(true);
    expect(t.records.at(-1)?.code).toMatch(/^(INVALID_FIELD|MALFORMED)$/);
  });

  test('a body beyond the limit is refused, and not read to its end', async () => {
    const t = await start();
    const headers = {
      'content-type': 'application/json',
      authorization: await bearer(t.operator, audience, Date.now()),
    };
    const body = `{"pageToken": "${'a'.repeat(100_000)}"}`;
    const answer = await http(t, listTenants, { method: 'POST', headers }, body);
    expect(JSON.parse(answer.body).code).toBe('resource_exhausted');
  });

  test('without a token the body does not matter', async () => {
    const t = await start();
    const headers = { 'content-type': 'application/json' };
    for (const body of ['{}', 'garbage', `{"pageToken": "${'a'.repeat(100_000)}"}`]) {
      const answer = await http(t, listTenants, { method: 'POST', headers }, body);
      expect([answer.status, JSON.parse(answer.body).code]).toEqual([401, 'unauthenticated']);
    }
    expect(t.records.map((record) => record.code)).toEqual(Array(3).fill('TOKEN_MISSING'));
  });

  test.each([
    ['another content type', { 'content-type': 'text/plain' }],
    [
      'compression, which is not offered',
      { 'content-type': 'application/proto', 'content-encoding': 'gzip' },
    ],
    ['a timeout that is none', { 'content-type': 'application/json', 'connect-timeout-ms': 'x' }],
    [
      'a timeout beyond the limit',
      { 'content-type': 'application/json', 'connect-timeout-ms': '99999999' },
    ],
  ])('%s is refused, and no call stays open', async (_what, headers) => {
    const t = await start();
    const authorization = await bearer(t.operator, audience, Date.now());
    const answer = await http(
      t,
      listTenants,
      { method: 'POST', headers: { ...headers, authorization } },
      '{}',
    );
    expect(answer.status).toBeGreaterThanOrEqual(400);
    while (t.records.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(t.records.map((record) => record.code)).toEqual(['MALFORMED']);
  });

  test('/livez answers while the process does; /readyz says why it does not serve', async () => {
    const t = await start();
    const ask = async (path: string) => {
      const { status, body } = await http(t, path, {});
      return [status, JSON.parse(body)];
    };
    expect(await ask('/readyz')).toEqual([200, { status: 'SERVING', reasons: [] }]);
    t.host.readiness.set('STORE_WRITE', true);
    const reasons = ['STORE_WRITE'];
    expect(await ask('/readyz')).toEqual([503, { status: 'NOT_SERVING', reasons }]);
    expect(await ask('/livez')).toEqual([200, { status: 'LIVE' }]);
  });

  test('an unknown path is 404', async () => {
    const t = await start();
    expect((await http(t, '/', {})).status).toBe(404);
    expect((await http(t, '/cvmp.v1.KeyService/Session', { method: 'POST' })).status).toBe(404);
  });
});

describe('CORS: named origins only', () => {
  const path = '/cvmp.v1.TenantService/ListTenants';
  const preflight = (name: string) => ({
    method: 'OPTIONS',
    headers: {
      origin: name,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,connect-protocol-version',
    },
  });

  test('a named origin may call with a token', async () => {
    const t = await start([origin]);
    const answer = await http(t, path, preflight(origin));
    expect(answer.status).toBe(204);
    expect(answer.headers['access-control-allow-origin']).toBe(origin);
    expect(answer.headers['access-control-allow-headers']).toMatch(/Authorization/);
    expect(answer.headers['access-control-allow-headers']).toMatch(/Connect-Protocol-Version/);
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
    const call = await http(
      t,
      path,
      { method: 'POST', headers: { origin, 'content-type': 'application/json' } },
      '{}',
    );
    expect(call.headers['access-control-allow-origin']).toBe(origin);
    expect(call.headers.vary).toBe('Origin');
  });

  test.each(['https://evil.example', 'http://console.example', 'null', `${origin}.evil.example`])(
    'another origin (%s) is refused before its call is made',
    async (name) => {
      const t = await start([origin]);
      const answers = [
        await http(t, path, preflight(name)),
        await http(
          t,
          path,
          {
            method: 'POST',
            headers: {
              origin: name,
              'content-type': 'application/json',
              authorization: await bearer(t.operator, audience, Date.now()),
            },
          },
          '{}',
        ),
      ];
      for (const answer of answers) {
        expect(answer.status).toBe(403);
        expect(answer.headers['access-control-allow-origin']).toBeUndefined();
      }
      expect(t.records).toEqual([]);
    },
  );
});

async function refusedWith(work: Promise<unknown>): Promise<[Code, string, string]> {
  const error = await work.then(
    () => undefined,
    (reason) => ConnectError.from(reason),
  );
  if (error === undefined) throw new Error('it was not refused');
  const detail = error.findDetails(ErrorDetailSchema)[0];
  return [error.code, detail?.code ?? '', detail?.field ?? ''];
}
