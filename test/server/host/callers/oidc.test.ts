import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { jwksLimits, type OidcIssuer } from '#server/host/callers/oidc.js';
import { FakeIssuer } from '../../../fakes/oidc-issuer.js';
import { refusalOf } from '../../../refusal.js';
import { temporaryFolder } from '../../../run-folder.js';
import { byToken, changeAcme, makeWorld, seconds, start, type World } from './world.js';

const login = new FakeIssuer();
let w: World;
let file: string;

const issuerOf = (fake: FakeIssuer, changes: Partial<OidcIssuer> = {}): OidcIssuer => ({
  issuer: fake.issuer,
  audience: 'key-server',
  keys: { kind: 'file', file },
  speaksFor: 'tenant',
  tenant: undefined,
  tenantClaim: 'tenant',
  roleClaim: 'roles',
  roles: new Map([
    ['cvmp-auditors', ['auditor']],
    ['cvmp-authors', ['policy-author']],
  ]),
  ...changes,
});

beforeAll(async () => {
  await login.addKey('k1');
  await login.addKey('rsa', 'RS256');
  await login.addKey('pss', 'PS256');
  await login.addKey('ed', 'EdDSA');
  await login.addKey('weak', 'ES384');
  file = join(temporaryFolder('oidc'), 'jwks.json');
  writeFileSync(file, JSON.stringify(login.keySet));
  w = await makeWorld([
    issuerOf(login),
    issuerOf(login, {
      audience: 'operators',
      speaksFor: 'operator',
      roles: new Map([['cvmp-auditors', ['monitor']]]),
    }),
  ]);
});

const ask = async (token: string | Promise<string>, world = w) =>
  world.authenticate(byToken(`Bearer ${await token}`));

describe('tokens of OpenID Connect issuers (RFC 7519, RFC 8725)', () => {
  test('claims name tenant and roles; the roles are mapped by the configuration', async () => {
    const roles = ['cvmp-auditors', 'cvmp-authors', 'unheard-of'];
    expect(await ask(login.token(start, { roles }))).toMatchObject({
      role: 'tenant',
      tenantId: 'acme',
      actor: 'oidc alice',
      verbs: new Set([
        'audit.read',
        'cvm.read',
        'policy.read',
        'key.read',
        'tenant.read',
        'policy.write',
      ]),
    });
    expect(await ask(login.token(start, { roles: 'x cvmp-authors' }))).toMatchObject({
      verbs: new Set(['policy.read', 'policy.write', 'cvm.read']),
    });
  });

  test('another audience of the same issuer can speak for operators', async () => {
    const token = login.token(start, { aud: 'operators', tenant: undefined });
    const caller = { role: 'operator', verbs: new Set(['tenants.read']), actor: 'oidc alice' };
    expect(await ask(token)).toEqual(caller);
  });

  test.each(['k1', 'rsa', 'pss', 'ed'])('signed by key %s', async (kid) => {
    expect(await refusalOf(ask(login.token(start, {}, { kid })))).toBe('accepted');
  });

  test.each<[string, Record<string, unknown>]>([
    ['of another issuer', { iss: 'https://evil.test' }],
    ['of no issuer', { iss: undefined }],
    ['for another audience', { aud: 'somebody-else' }],
    ['for no audience', { aud: undefined }],
    ['without an end', { exp: undefined }],
    ['without a beginning', { iat: undefined }],
    ['without a subject', { sub: undefined }],
    ['that is expired', { iat: seconds - 1000, exp: seconds - 61 }],
    ['that is not valid yet', { nbf: seconds + 61 }],
    ['that was issued in the future', { iat: seconds + 61 }],
    ['that is older than a day', { iat: seconds - 86_461, exp: seconds + 1000 }],
    ['of an unknown tenant', { tenant: 'nobody' }],
    ['of no tenant', { tenant: undefined }],
    ['of a tenant that is no text', { tenant: ['acme'] }],
    ['of no known role', { roles: ['users'] }],
    ['of no role', { roles: undefined }],
    ['of a role by inheritance', { roles: ['constructor', '__proto__'] }],
  ])('a token %s is TOKEN_INVALID', async (_, wrong) => {
    expect(await refusalOf(ask(login.token(start, wrong)))).toBe('TOKEN_INVALID');
  });

  test('clocks may be a minute apart', async () => {
    const late = login.token(start, { iat: seconds - 300, exp: seconds - 59 });
    expect(await refusalOf(ask(late))).toBe('accepted');
    expect(await refusalOf(ask(login.token(start, { nbf: seconds + 59 })))).toBe('accepted');
  });

  test('unsigned, of an algorithm that is not admitted, or changed', async () => {
    const claims = { iss: login.issuer, aud: 'key-server', sub: 'alice', iat: seconds };
    const unsecured = new UnsecuredJWT({ ...claims, exp: seconds + 60 }).encode();
    expect(await refusalOf(ask(unsecured))).toBe('TOKEN_INVALID');
    const weak = login.token(start, {}, { kid: 'weak', alg: 'ES384' });
    expect(await refusalOf(ask(weak))).toBe('TOKEN_INVALID');
    const [head, body, signature] = (await login.token(start)).split('.');
    const admin = Buffer.from(JSON.stringify({ ...claims, tenant: 'globex' })).toString(
      'base64url',
    );
    expect(await refusalOf(ask(`${head}.${admin}.${signature}`))).toBe('TOKEN_INVALID');
    expect(await refusalOf(ask(`${head}.${body}.`))).toBe('TOKEN_INVALID');
    expect(await refusalOf(ask('a.b.c'))).toBe('TOKEN_INVALID');
  });

  test('a tenant that the configuration names needs no claim', async () => {
    const fixed = await makeWorld([issuerOf(login, { tenant: 'acme' })]);
    const caller = await ask(login.token(start, { tenant: 'globex' }), fixed);
    expect(caller).toMatchObject({ tenantId: 'acme' });
  });

  test('a suspended tenant is told so, however it comes', async () => {
    await changeAcme(w, { suspended: 'unpaid' });
    onTestFinished(async () => {
      await changeAcme(w, { suspended: undefined });
    });
    expect(await refusalOf(ask(login.token(start)))).toBe('TENANT_SUSPENDED');
  });
});

describe('key sets from a URL', () => {
  const remote = new FakeIssuer();
  let url: string;
  beforeAll(async () => {
    await remote.addKey('first');
    url = await remote.listen();
  });
  afterAll(() => remote.close());

  const fresh = () => {
    remote.asked = 0;
    remote.status = 200;
    return makeWorld([issuerOf(remote, { keys: { kind: 'url', url, ca: undefined } })]);
  };

  test('are asked for once, also by many calls at once', async () => {
    const world = await fresh();
    const tokens = await Promise.all(Array.from({ length: 8 }, () => remote.token(start)));
    await Promise.all(tokens.map((token) => ask(token, world)));
    await ask(remote.token(start), world);
    expect(remote.asked).toBe(1);
  });

  test('are asked for again where a key is unknown, but not at will', async () => {
    const clock = vi.spyOn(Date, 'now');
    onTestFinished(() => clock.mockRestore());
    let now = start;
    clock.mockImplementation(() => now);
    const world = await fresh();
    await ask(remote.token(start), world);
    await remote.addKey('second');
    const token = await remote.token(start, {}, { kid: 'second' });
    for (let i = 0; i < 5; i++) expect(await refusalOf(ask(token, world))).toBe('TOKEN_INVALID');
    expect(remote.asked).toBe(1);
    now += jwksLimits.cooldownMilliseconds + 1;
    expect(await refusalOf(ask(token, world))).toBe('accepted');
    expect(remote.asked).toBe(2);
  });

  test('that cannot be had are UNAVAILABLE: no key, no answer', async () => {
    const world = await fresh();
    remote.status = 500;
    expect(await refusalOf(ask(remote.token(start), world))).toBe('UNAVAILABLE');
    const nowhere = { kind: 'url', url: 'http://127.0.0.1:1/jwks', ca: undefined } as const;
    const lost = await makeWorld([issuerOf(remote, { keys: nowhere })]);
    expect(await refusalOf(ask(remote.token(start), lost))).toBe('UNAVAILABLE');
  });
});
