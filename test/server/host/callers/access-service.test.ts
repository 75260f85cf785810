import { request as httpsRequest } from 'node:https';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
} from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { toBase64Url } from '#core/bytes.js';
import { mintCwt } from '#core/cose/cwt.js';
import { signDelegation } from '#core/cose/delegation.js';
import { encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { signRotation } from '#core/cose/key-rotation.js';
import { crypto } from '#crypto';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { AccessService, TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { accessService } from '#server/host/callers/access-service.js';
import { spkiDigestOf } from '#server/host/callers/client-certificate.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { bearer, makeSigner, type Signer } from '../../../fakes/callers.js';
import { type Issued, issue } from '../../../fakes/client-certificates.js';
import { noFacts } from '../../../fakes/tenants.js';
import { audience, startTestHost, type TestHost } from '../harness.js';

const start = () =>
  startTestHost(({ tenants }) => [
    tenantService(tenants, noFacts),
    accessService(tenants, noFacts, Date.now),
  ]);

const authorized =
  (header: () => Promise<string>): Interceptor =>
  (next) =>
  async (request) => {
    request.header.set('authorization', await header());
    return next(request);
  };

function transport(t: TestHost, interceptor: Interceptor, client?: Issued) {
  const own = client === undefined ? {} : { cert: client.certificate, key: client.keyPem };
  return createGrpcTransport({
    baseUrl: `https://localhost:${t.host.grpcAddress.split(':')[1]}`,
    nodeOptions: { ca: t.certificate, ...own },
    interceptors: [interceptor],
  });
}

const accessOf = (t: TestHost, by: Signer): Client<typeof AccessService> =>
  createClient(
    AccessService,
    transport(
      t,
      authorized(() => bearer(by, audience, Date.now())),
    ),
  );

const operatorOf = (t: TestHost): Client<typeof TenantService> =>
  createClient(
    TenantService,
    transport(
      t,
      authorized(() => bearer(t.operator, audience, Date.now())),
    ),
  );

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason) => ConnectError.from(reason),
  );
  if (error === undefined) return 'accepted';
  return error.findDetails(ErrorDetailSchema)[0]?.code ?? Code[error.code]!;
}

describe('AccessService: a tenant says who may speak for it', () => {
  test('a delegate works until it is revoked, by id or by time', async () => {
    const t = await start();
    const ci = await makeSigner('ci');
    const iat = Math.floor(Date.now() / 1000) - 5;
    const delegatedAs = async (id: Uint8Array) => {
      const delegation = await signDelegation(t.acme.key, {
        iss: 'acme',
        sub: 'ci',
        aud: [audience],
        iat,
        exp: iat + 3600,
        id,
        scope: ['auditor'],
        key: ci.publicKey,
      });
      const header = async () => {
        const claims = {
          iss: 'acme',
          sub: 'ci',
          aud: audience,
          iat,
          exp: iat + 300,
          scope: ['tenant'],
        };
        const cti = crypto.randomBytes(16);
        return `Bearer ${toBase64Url(await mintCwt(ci.key, { ...claims, cti, delegation }))}`;
      };
      return createClient(AccessService, transport(t, authorized(header)));
    };
    const first = await delegatedAs(new Uint8Array(16).fill(1));
    const second = await delegatedAs(new Uint8Array(16).fill(2));
    expect((await first.getAccess({})).access?.tenant?.tenantId).toBe('acme');
    const spkiDigest = new Uint8Array(32);
    expect(await refusal(first.removeClientCertificate({ spkiDigest }))).toBe('NOT_ALLOWED');
    const acme = accessOf(t, t.acme);
    await acme.revokeDelegations({ delegationIds: [new Uint8Array(16).fill(1)] });
    expect(await refusal(first.getAccess({}))).toBe('TOKEN_INVALID');
    expect(await refusal(second.getAccess({}))).toBe('accepted');
    const { access } = await acme.revokeDelegations({ issuedBefore: timestampFromMs(Date.now()) });
    expect(access?.revokedDelegations).toHaveLength(1);
    expect(await refusal(second.getAccess({}))).toBe('TOKEN_INVALID');
    // Never earlier than it was set to.
    await acme.revokeDelegations({ issuedBefore: timestampFromMs(1000) });
    expect(await refusal(second.getAccess({}))).toBe('TOKEN_INVALID');
  });

  test('a client certificate speaks for the tenant on both ports, and is taken back', async () => {
    const t = await start();
    const client = await issue();
    const stranger = await issue();
    const acme = accessOf(t, t.acme);
    const spkiDigest = spkiDigestOf(client.x509);
    const certificate = { spkiDigest, scope: ['auditor'], label: 'build' };
    await acme.addClientCertificate({ certificate });
    const named =
      (tenant: string): Interceptor =>
      (next) =>
      (request) => {
        request.header.set('cvmp-tenant', tenant);
        return next(request);
      };
    const by = (issued: Issued | undefined, tenant = 'acme') =>
      createClient(AccessService, transport(t, named(tenant), issued)).getAccess({});
    expect((await by(client)).access?.certificates).toMatchObject([{ label: 'build' }]);
    expect(await refusal(by(stranger))).toBe('CLIENT_CERTIFICATE');
    expect(await refusal(by(undefined))).toBe('CLIENT_CERTIFICATE');
    expect(await refusal(by(client, 'globex'))).toBe('CLIENT_CERTIFICATE');
    expect(await web(t, client)).toBe(200);
    expect(await web(t, stranger)).toBe(401);
    const own = t.records.find(({ caller }) => 'actor' in caller && caller.actor !== 'key');
    expect(own?.caller).toMatchObject({ tenantId: 'acme', actor: 'certificate build' });
    await acme.removeClientCertificate({ spkiDigest });
    expect(await refusal(by(client))).toBe('CLIENT_CERTIFICATE');
    expect(await refusal(acme.removeClientCertificate({ spkiDigest }))).toBe('NOT_FOUND');
  });

  test.each([
    ['no scope', { scope: [] }],
    ['an unknown scope', { scope: ['everything'] }],
    ['a scope of operators', { scope: ['operator'] }],
    ['neither key nor authority', { spkiDigest: new Uint8Array() }],
    ['names without an authority', { names: ['DNS:x'] }],
    ['an authority that is none', { authority: new Uint8Array([1, 2]) }],
  ])('a client certificate with %s is refused', async (_, wrong) => {
    const t = await start();
    const good = { spkiDigest: new Uint8Array(32), scope: ['auditor'], ...wrong };
    const added = accessOf(t, t.acme).addClientCertificate({ certificate: good });
    expect(await refusal(added)).toBe('INVALID_FIELD');
  });

  test('the signing key is rotated by old and new key together, and the old one signs no more', async () => {
    const t = await start();
    const next = await makeSigner('acme');
    const now = Math.floor(Date.now() / 1000);
    const acme = accessOf(t, t.acme);
    const rotate = (signedRotation: Uint8Array) => acme.rotateTenantKey({ signedRotation });
    const stranger = await makeSigner('acme');
    const forged = await signRotation('acme', stranger.key, next.key, now);
    expect(await refusal(rotate(forged))).toBe('QUORUM');
    const other = await signRotation('globex', t.acme.key, next.key, now);
    expect(await refusal(rotate(other))).toBe('MALFORMED');
    const old = await signRotation('acme', t.acme.key, next.key, now - 90_000);
    expect(await refusal(rotate(old))).toBe('INVALID_FIELD');
    const same = await signRotation('acme', t.acme.key, t.acme.key, now);
    expect(await refusal(rotate(same))).not.toBe('accepted');
    const good = await signRotation('acme', t.acme.key, next.key, now);
    const { access } = await rotate(good);
    expect(access?.tenant?.thumbprint).toEqual(thumbprint(next.publicKey));
    expect(access?.tenant?.earlierThumbprints).toEqual([thumbprint(t.acme.publicKey)]);
    expect(await refusal(acme.getAccess({}))).toBe('TOKEN_INVALID');
    const renewed = accessOf(t, next);
    expect(await refusal(renewed.getAccess({}))).toBe('accepted');
    const again = renewed.rotateTenantKey({ signedRotation: good });
    expect(await refusal(again)).not.toBe('accepted');
    const back = await signRotation('acme', next.key, t.acme.key, now);
    expect(await refusal(renewed.rotateTenantKey({ signedRotation: back }))).toBe('ALREADY_EXISTS');
  });
});

describe('TenantService: what operators do', () => {
  test('a suspended tenant is refused until it is resumed', async () => {
    const t = await start();
    const operator = operatorOf(t);
    const acme = accessOf(t, t.acme);
    const { tenant } = await operator.suspendTenant({ tenantId: 'acme', reason: 'unpaid' });
    expect(tenant?.suspended).toBe('unpaid');
    expect(await refusal(acme.getAccess({}))).toBe('TENANT_SUSPENDED');
    expect(await refusal(accessOf(t, t.globex).getAccess({}))).toBe('accepted');
    await operator.suspendTenant({ tenantId: 'acme' });
    expect(await refusal(acme.getAccess({}))).toBe('accepted');
    expect(await refusal(operator.suspendTenant({ tenantId: 'nobody', reason: 'x' }))).toBe(
      'NOT_FOUND',
    );
  });

  test('limits are set whole, and read by both', async () => {
    const t = await start();
    const operator = operatorOf(t);
    await operator.setTenantLimits({ tenantId: 'acme', limits: { keysMax: 7, cvmsMax: 3 } });
    expect((await accessOf(t, t.acme).getAccess({})).limits).toMatchObject({
      keysMax: 7,
      cvmsMax: 3,
    });
    await operator.setTenantLimits({ tenantId: 'acme', limits: { cvmsMax: 4 } });
    const { limits } = await operator.getTenant({ tenantId: 'acme' });
    expect(limits).toMatchObject({ keysMax: 0, cvmsMax: 4 });
  });

  test('a lost key is replaced by one that the tenant never had', async () => {
    const t = await start();
    const operator = operatorOf(t);
    const next = await makeSigner('acme');
    const replace = (signer: Signer) =>
      operator.replaceTenantKey({ tenantId: 'acme', signingKey: encodeCoseKey(signer.publicKey) });
    await replace(next);
    expect(await refusal(accessOf(t, t.acme).getAccess({}))).toBe('TOKEN_INVALID');
    expect(await refusal(accessOf(t, next).getAccess({}))).toBe('accepted');
    expect(await refusal(replace(t.acme))).toBe('ALREADY_EXISTS');
  });

  test("no operator does what is a tenant's, nor a tenant what is an operator's", async () => {
    const t = await start();
    expect(await refusal(accessOf(t, t.operator).getAccess({}))).toBe('NOT_ALLOWED');
    const asTenant = createClient(
      TenantService,
      transport(
        t,
        authorized(() => bearer(t.acme, audience, Date.now())),
      ),
    );
    expect(await refusal(asTenant.getTenant({ tenantId: 'acme' }))).toBe('NOT_ALLOWED');
  });
});

/** GetAccess in plain JSON over the web port. @returns the HTTP status */
function web(t: TestHost, client: Issued): Promise<number> {
  return new Promise((resolve, reject) => {
    const port = Number(t.host.webAddress.split(':')[1]);
    const options = {
      host: 'localhost',
      port,
      path: '/cvmp.v1.AccessService/GetAccess',
      method: 'POST',
      ca: t.certificate,
      cert: client.certificate,
      key: client.keyPem,
      agent: false,
      headers: { 'content-type': 'application/json', 'cvmp-tenant': 'acme' },
    } as const;
    const request = httpsRequest(options, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    request.on('error', reject);
    request.end('{}');
  });
}
