import { beforeAll, describe, expect, test } from 'vitest';
import { spkiDigestOf } from '#server/host/callers/client-certificate.js';
import type { ClientCertificate } from '#server/host/callers/tenant.js';
import { type Issued, type IssueOptions, issue } from '../../../fakes/client-certificates.js';
import { refusalOf } from '../../../refusal.js';
import { byCertificate, changeAcme, makeWorld, start, type World } from './world.js';

let authority: Issued;
let stranger: Issued;
let w: World;
beforeAll(async () => {
  authority = await issue({ ca: true });
  stranger = await issue({ ca: true });
  w = await makeWorld();
});

const bound = (changes: Partial<ClientCertificate>): ClientCertificate => ({
  spkiDigest: new Uint8Array(32),
  authority: new Uint8Array(),
  names: [],
  scope: ['auditor'],
  label: 'build',
  notAfter: undefined,
  ...changes,
});

const byKey = (client: Issued) => bound({ spkiDigest: spkiDigestOf(client.x509) });
const byAuthority = (names: readonly string[] = []) =>
  bound({ spkiDigest: spkiDigestOf(authority.x509), authority: authority.der, names });

const admit = async (
  certificates: readonly ClientCertificate[],
  client: Issued,
  tenant = 'acme',
) => {
  await changeAcme(w, { certificates });
  return refusalOf(w.authenticate(byCertificate(tenant, client.x509)));
};

describe('client certificates (RFC 8446 s.4.3.2, RFC 5280)', () => {
  test('a registered public key speaks for the tenant with the scope of its registration', async () => {
    const client = await issue();
    await changeAcme(w, { certificates: [byKey(client)] });
    expect(await w.authenticate(byCertificate('acme', client.x509))).toMatchObject({
      role: 'tenant',
      tenantId: 'acme',
      actor: 'certificate build',
      verbs: new Set(['audit.read', 'cvm.read', 'policy.read', 'key.read', 'tenant.read']),
    });
  });

  test('so does a new certificate for the same public key, and no other', async () => {
    const client = await issue();
    expect(await admit([byKey(client)], client)).toBe('accepted');
    expect(await admit([byKey(client)], await issue())).toBe('CLIENT_CERTIFICATE');
  });

  test('it speaks for no other tenant; an unknown tenant is the same refusal', async () => {
    const client = await issue();
    await admit([byKey(client)], client);
    const refusals: unknown[] = [];
    for (const tenant of ['globex', 'nobody']) {
      const asked = w.authenticate(byCertificate(tenant, client.x509));
      await asked.catch((error) => refusals.push([error.code, error.message.replace(tenant, '')]));
    }
    expect(refusals).toHaveLength(2);
    expect(refusals[0]).toEqual(refusals[1]);
  });

  const own: readonly (readonly [string, IssueOptions, string])[] = [
    ['for TLS clients', {}, 'accepted'],
    ['without purposes', { purpose: undefined }, 'accepted'],
    ['for servers', { purpose: 'server' }, 'CLIENT_CERTIFICATE'],
    ['of an authority', { ca: true }, 'CLIENT_CERTIFICATE'],
    ['that is over', { to: start - 1000 }, 'CLIENT_CERTIFICATE'],
    ['that is not valid yet', { from: start + 1000 }, 'CLIENT_CERTIFICATE'],
  ];
  test.each(own)('a registered certificate %s', async (_, options, expected) => {
    const client = await issue(options);
    expect(await admit([byKey(client)], client)).toBe(expected);
  });

  const issued: readonly (readonly [string, IssueOptions, readonly string[], string])[] = [
    ['any name', {}, [], 'accepted'],
    ['its name', { names: ['DNS:ci.acme.example'] }, ['DNS:ci.acme.example'], 'accepted'],
    [
      'one of the names, as a URI',
      { names: ['DNS:x.example', 'URI:spiffe://acme/ci'] },
      ['DNS:ci.acme.example', 'URI:spiffe://acme/ci'],
      'accepted',
    ],
    [
      'another name',
      { names: ['DNS:cd.acme.example'] },
      ['DNS:ci.acme.example'],
      'CLIENT_CERTIFICATE',
    ],
    [
      'a longer name',
      { names: ['DNS:ci.acme.example.evil'] },
      ['DNS:ci.acme.example'],
      'CLIENT_CERTIFICATE',
    ],
    [
      'no name but a common name',
      { name: 'ci.acme.example' },
      ['DNS:ci.acme.example'],
      'CLIENT_CERTIFICATE',
    ],
    [
      'a name that holds a separator',
      { names: ['DNS:x, DNS:ci.acme.example'] },
      ['DNS:ci.acme.example'],
      'CLIENT_CERTIFICATE',
    ],
    ['the purpose of servers', { purpose: 'server' }, [], 'CLIENT_CERTIFICATE'],
    ['no purpose', { purpose: undefined }, [], 'CLIENT_CERTIFICATE'],
    ['an end that is past', { to: start - 1000 }, [], 'CLIENT_CERTIFICATE'],
  ];
  test.each(issued)('of a registered authority, with %s', async (_, options, names, expected) => {
    const client = await issue({ ...options, by: authority });
    expect(await admit([byAuthority(names)], client)).toBe(expected);
  });

  test('of an authority with the same name but another key', async () => {
    const client = await issue({ by: stranger });
    expect(await admit([byAuthority()], client)).toBe('CLIENT_CERTIFICATE');
  });

  test('after the end of its registration', async () => {
    const client = await issue();
    const over = { ...byKey(client), notAfter: start };
    expect(await admit([over], client)).toBe('CLIENT_CERTIFICATE');
  });

  test('a tenant without a certificate, a certificate without a tenant', async () => {
    const client = await issue();
    await changeAcme(w, { certificates: [byKey(client)] });
    const none = w.authenticate(byCertificate('acme', undefined));
    expect(await refusalOf(none)).toBe('CLIENT_CERTIFICATE');
    expect(await refusalOf(w.authenticate(byCertificate('', client.x509)))).toBe('TOKEN_MISSING');
  });
});
