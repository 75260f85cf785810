import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseProfile, publicKeyText } from '#cli/profile/profile.js';
import { fromBase64Url, toHex } from '#core/bytes.js';
import { openDelegation } from '#core/cose/delegation.js';
import { encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { openRotation } from '#core/cose/key-rotation.js';
import {
  AccessService,
  type AddClientCertificateRequest,
  GetAccessResponseSchema,
  GetTenantResponseSchema,
  type RevokeDelegationsRequest,
  type SetTenantLimitsRequest,
  TenantService,
} from '#gen/cvmp/v1/tenant_pb.js';
import { createAuthenticator } from '#server/host/callers/authenticate.js';
import { makeTenant } from '#server/host/callers/tenant.js';
import { issue } from '../fakes/client-certificates.js';
import { MemoryTenants } from '../fakes/tenants.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';
import { type FakeTenant, fakeServers, fakeTenant } from './fake-servers.js';

const now = 1_800_000_000_000;
let tenant: FakeTenant;
let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  tenant = await fakeTenant();
  folder = temporaryFolder('tenant-cli');
  await commandLine(['signer', 'init', 'ci', '--dir', folder]);
  await commandLine(['signer', 'init', 'next', '--dir', folder]);
});

const own = () => ({
  tenantId: 'acme',
  signingKey: encodeCoseKey(tenant.publicKey),
  thumbprint: thumbprint(tenant.publicKey),
});

/** Both servers, which keep what they are asked. */
function servers() {
  const asked: { revoke: RevokeDelegationsRequest[]; add: AddClientCertificateRequest[] } = {
    revoke: [],
    add: [],
  };
  const limits: SetTenantLimitsRequest[] = [];
  const suspended: [string, string][] = [];
  const rotations: Uint8Array[] = [];
  const usage = [{ resource: 'stored_bytes', used: 5n, limit: 9n }];
  const fake = fakeServers(tenant.profile, ({ service }) => {
    service(AccessService, {
      getAccess: () => create(GetAccessResponseSchema, { access: { tenant: own() }, usage }),
      revokeDelegations: (request) => {
        asked.revoke.push(request);
        return {};
      },
      addClientCertificate: (request) => {
        asked.add.push(request);
        return {};
      },
      removeClientCertificate: () => ({}),
      rotateTenantKey: ({ signedRotation }) => {
        rotations.push(signedRotation);
        return {};
      },
    });
    service(TenantService, {
      registerTenant: () => ({}),
      listTenants: () => ({}),
      getTenant: () => create(GetTenantResponseSchema, { tenant: own(), usage }),
      suspendTenant: ({ tenantId, reason }) => {
        suspended.push([tenantId, reason]);
        return {};
      },
      setTenantLimits: (request) => {
        limits.push(request);
        return { limits: request.limits! };
      },
      replaceTenantKey: () => ({ tenant: own() }),
    });
  });
  return { ...asked, limits, suspended, rotations, apis: fake.apis, calls: fake.calls };
}

const run = (s: ReturnType<typeof servers> | undefined, ...argv: string[]) =>
  commandLine(argv, {
    ...(s === undefined ? {} : { servers: s.apis }),
    profile: tenant.profile,
    now,
  });

const delegate = (...more: string[]) =>
  run(
    undefined,
    ...['delegate', 'create', 'ci', '--key', at('ci.pub'), '--scope', 'auditor,policy.write'],
    ...['--out', at('ci.delegation'), '--json', ...more],
  );

describe('delegates', () => {
  test('a delegation is made without a server, and its tokens speak for the tenant', async () => {
    const made = await delegate('--days', '10');
    expect(made.json()).toMatchObject({
      delegate: 'ci',
      servers: ['ks', 'cloud'],
      scope: ['auditor', 'policy.write'],
      expires: new Date(now + 10 * 86_400_000).toISOString(),
    });
    const minted = await commandLine(
      ['token', '--audience', 'ks', '--delegation', at('ci.delegation'), '--key', at('ci-key.pem')],
      { now },
    );
    expect(minted.code).toBe(0);
    const tenants = new MemoryTenants();
    tenants.tenants.set('acme', makeTenant('acme', encodeCoseKey(tenant.publicKey), 0));
    const options = { audience: 'ks', operatorKeys: [], issuers: [], tenants, now: () => now };
    const caller = await createAuthenticator(options)({
      authorization: `Bearer ${minted.terminal.stdout.trim()}`,
      tenant: undefined,
      certificate: () => undefined,
    });
    expect(caller).toMatchObject({ tenantId: 'acme', actor: 'delegate ci' });
    expect('verbs' in caller && caller.verbs.has('policy.write')).toBe(true);
    expect('verbs' in caller && caller.verbs.has('key.destroy')).toBe(false);
  });

  test('a profile that names delegation and delegate_key speaks as delegate everywhere', async () => {
    await delegate();
    const text = `tenant: acme
delegation: ${at('ci.delegation')}
delegate_key: ${at('ci-key.pem')}
key_server:
  address: 127.0.0.1:7443
  name: ks
  tls_ca: ks.crt
  identity_key: ${publicKeyText(tenant.publicKey)}
`;
    const profile = parseProfile(text, at('cvmp.yaml'));
    const s = servers();
    const fake = fakeServers(profile, ({ service }) => {
      service(AccessService, { getAccess: () => create(GetAccessResponseSchema, {}) });
    });
    const shown = await commandLine(['tenant', 'show'], { profile, servers: fake.apis, now });
    expect(shown.code).toBe(0);
    const bytes = fromBase64Url(fake.calls[0]!.token);
    expect(toHex(bytes)).toContain(toHex(new TextEncoder().encode('application/cvmp-delegation')));
    const signs = await commandLine(['policy', 'set', at('x.yaml')], { profile, servers: s.apis });
    expect(signs.code).not.toBe(0);
  });

  test('revocation by id and by time goes to both servers', async () => {
    const s = servers();
    const id = '4f1c2f0a0a4d4b1f9f3d0a6f2a1b3c4d';
    expect((await run(s, 'delegate', 'revoke', id)).code).toBe(0);
    expect(s.calls.map(({ server }) => server)).toEqual(['ks', 'cloud']);
    expect(toHex(s.revoke[0]!.delegationIds[0]!)).toBe(id);
    await run(s, 'delegate', 'revoke', '--issued-before', '2026-11-22T12:00:00Z');
    expect(s.revoke[2]!.issuedBefore?.seconds).toBe(BigInt(Date.UTC(2026, 10, 22, 12) / 1000));
    expect((await run(s, 'delegate', 'revoke')).code).toBe(2);
    expect((await run(s, 'delegate', 'revoke', 'abc')).code).toBe(2);
  });

  test.each([
    ['no key', ['--scope', 'auditor', '--out', 'x']],
    ['no scope', ['--key', 'ci.pub', '--out', 'x']],
    ['a life of more than a year', ['--days', '367']],
  ])('a delegation with %s is wrong usage', async (_, more) => {
    const argv = more[0] === '--days' ? (await delegate(...more)).code : undefined;
    const code = argv ?? (await run(undefined, 'delegate', 'create', 'ci', ...more)).code;
    expect(code).toBe(2);
  });

  test('the file is the signed delegation itself', async () => {
    await delegate();
    const { readFileSync } = await import('node:fs');
    const bytes = new Uint8Array(readFileSync(at('ci.delegation')));
    const opened = await openDelegation(bytes, tenant.publicKey);
    expect(opened).toMatchObject({ iss: 'acme', sub: 'ci', aud: ['ks', 'cloud'] });
  });
});

describe('client certificates', () => {
  test('of a client by its public key, of an authority whole', async () => {
    const s = servers();
    const client = await issue();
    const authority = await issue({ ca: true });
    writeFileSync(at('ci.crt'), client.certificate);
    writeFileSync(at('ca.crt'), authority.certificate);
    const one = await run(s, 'certificate', 'add', at('ci.crt'), '--scope', 'auditor', '--json');
    expect(one.json()).toMatchObject({ servers: ['key_server', 'platform'], authority: false });
    const name = ['--authority', '--name', 'DNS:ci.acme.example'];
    await run(s, 'certificate', 'add', at('ca.crt'), '--scope', 'auditor', ...name);
    expect(s.add[0]!.certificate?.authority).toEqual(new Uint8Array());
    expect(toHex(s.add[0]!.certificate!.spkiDigest)).toBe(one.json().spki_digest);
    expect(s.add[2]!.certificate).toMatchObject({
      authority: authority.der,
      names: ['DNS:ci.acme.example'],
      scope: ['auditor'],
    });
    const digest = String(one.json().spki_digest);
    expect((await run(s, 'certificate', 'remove', digest)).code).toBe(0);
    expect((await run(s, 'certificate', 'add', at('ci.pub'), '--scope', 'x')).code).toBe(2);
  });
});

describe('tenants', () => {
  test('show: for itself, and for operators', async () => {
    const s = servers();
    const mine = await run(s, 'tenant', 'show');
    expect(mine.terminal.stdout).toMatch(/stored bytes: +5 of 9/);
    expect(mine.terminal.stdout).toMatch(/client certificates: +none/);
    const theirs = await run(s, 'tenant', 'show', 'acme', '--json');
    expect(theirs.json()).toMatchObject({ servers: [{ server: 'key_server' }, {}] });
  });

  test('rotate: signed by both keys', async () => {
    const s = servers();
    const done = await run(s, 'tenant', 'rotate', '--next', at('next-key.pem'), '--json');
    const rotation = await openRotation(s.rotations[0]!, 'acme', tenant.publicKey);
    expect(toHex(thumbprint(rotation.to))).toBe(done.json().thumbprint);
    expect(s.rotations).toHaveLength(2);
  });

  test('suspend, resume, limit, replace-key', async () => {
    const s = servers();
    await run(s, 'tenant', 'suspend', 'acme', '--reason', 'unpaid', '--server', 'key-server');
    await run(s, 'tenant', 'resume', 'acme', '--server', 'key-server');
    expect(s.suspended).toEqual([
      ['acme', 'unpaid'],
      ['acme', ''],
    ]);
    expect((await run(s, 'tenant', 'suspend', 'acme')).code).toBe(2);
    const set = await run(s, 'tenant', 'limit', 'acme', '--keys-max', '5');
    expect(s.limits[0]!.limits).toMatchObject({ keysMax: 5, policiesMax: 0 });
    expect(set.terminal.stdout).toMatch(/policies max: +default/);
    const replaced = await run(s, 'tenant', 'replace-key', 'acme', '--key', at('next.pub'));
    expect(replaced.terminal.stdout).toContain('platform knows acme');
  });
});
