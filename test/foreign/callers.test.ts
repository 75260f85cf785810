import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { accessService } from '#server/host/callers/access-service.js';
import { spkiDigestOf } from '#server/host/callers/client-certificate.js';
import { run } from '../e2e/dev-stack.js';
import { bearer } from '../fakes/callers.js';
import { issue } from '../fakes/client-certificates.js';
import { FakeIssuer } from '../fakes/oidc-issuer.js';
import { noFacts } from '../fakes/tenants.js';
import { temporaryFolder } from '../run-folder.js';
import { audience, startTestHost } from '../server/host/harness.js';

// The three ways to show who one is, by clients that share nothing with us.

function works(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const method = 'cvmp.v1.AccessService/GetAccess';

/** A server with a client certificate of acme, an issuer that it trusts, and files for clients. */
async function world() {
  const login = new FakeIssuer();
  await login.addKey('k1', 'RS256');
  const url = await login.listen();
  onTestFinished(() => login.close());
  const t = await startTestHost(({ tenants }) => [accessService(tenants, noFacts, Date.now)], {
    issuers: [
      {
        issuer: login.issuer,
        audience,
        keys: { kind: 'url', url, ca: undefined },
        speaksFor: 'tenant',
        tenant: undefined,
        tenantClaim: 'tenant',
        roleClaim: 'roles',
        roles: new Map([['cvmp-auditors', ['auditor']]]),
      },
    ],
  });
  const client = await issue();
  await t.tenants.change('acme', 'add_client_certificate', (tenant) => ({
    ...tenant,
    certificates: [
      {
        spkiDigest: spkiDigestOf(client.x509),
        authority: new Uint8Array(),
        names: [],
        scope: ['auditor'],
        label: 'curl',
        notAfter: undefined,
      },
    ],
  }));
  const folder = temporaryFolder('foreign');
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const jwt = `Bearer ${await login.token(Date.now(), { aud: audience })}`;
  return {
    t,
    ca: file('ca.pem', t.certificate),
    cert: file('client.pem', client.certificate),
    key: file('client-key.pem', client.keyPem),
    tokens: { cwt: await bearer(t.acme, audience, Date.now()), jwt },
  };
}

describe.skipIf(!works('curl', '--version'))('curl (skipped where there is none)', () => {
  test('by token, by JWT, by client certificate; by none it is told how', async () => {
    const { t, ca, cert, key, tokens } = await world();
    const ask = async (...more: string[]) => {
      const port = t.host.webAddress.split(':')[1];
      const address = `https://localhost:${port}/${method}`;
      const body = ['-H', 'content-type: application/json', '-d', '{}'];
      const ran = await run('curl', ['-sS', '--cacert', ca, ...body, ...more, address]);
      return JSON.parse(ran.stdout) as {
        readonly access?: { readonly tenant: { readonly tenantId: string } };
        readonly message?: string;
      };
    };
    const ways = [
      ['-H', `authorization: ${tokens.cwt}`],
      ['-H', `authorization: ${tokens.jwt}`],
      ['-H', 'cvmp-tenant: acme', '--cert', cert, '--key', key],
    ];
    for (const way of ways) {
      expect((await ask(...way)).access?.tenant.tenantId, way.join(' ')).toBe('acme');
    }
    expect((await ask()).message).toMatch(/^TOKEN_MISSING/);
    expect((await ask('-H', 'cvmp-tenant: acme')).message).toMatch(/^CLIENT_CERTIFICATE/);
    const actors = t.records.map(({ caller }) => ('actor' in caller ? caller.actor : caller.role));
    const none = ['anonymous', 'anonymous'];
    expect(actors).toEqual(['key', 'oidc alice', 'certificate curl', ...none]);
  });
});

describe.skipIf(!works('grpcurl', '-version'))('grpcurl (skipped where there is none)', () => {
  test('by token, by JWT, by client certificate', async () => {
    const { t, ca, cert, key, tokens } = await world();
    const address = t.host.grpcAddress.replace('127.0.0.1', 'localhost');
    const ask = async (...more: string[]) =>
      run('grpcurl', ['-cacert', ca, ...more, '-d', '{}', address, method]);
    const ways = [
      ['-H', `authorization: ${tokens.cwt}`],
      ['-H', `authorization: ${tokens.jwt}`],
      ['-H', 'cvmp-tenant: acme', '-cert', cert, '-key', key],
    ];
    for (const way of ways) {
      const ran = await ask(...way);
      expect(ran.stderr).toBe('');
      expect(ran.stdout).toContain('"tenantId": "acme"');
    }
    expect((await ask()).stderr).toMatch(/Unauthenticated[\s\S]*TOKEN_MISSING/);
  });
});
