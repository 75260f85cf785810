import type { X509Certificate } from 'node:crypto';
import { toBase64Url } from '#core/bytes.js';
import { type CwtClaims, mintCwt } from '#core/cose/cwt.js';
import { type Delegation, signDelegation } from '#core/cose/delegation.js';
import { encodeCoseKey } from '#core/cose/key.js';
import { crypto } from '#crypto';
import { type Authenticate, createAuthenticator } from '#server/host/callers/authenticate.js';
import type { OidcIssuer } from '#server/host/callers/oidc.js';
import type { Tenant } from '#server/host/callers/tenant.js';
import { makeSigner, type Signer } from '../../../fakes/callers.js';
import { MemoryTenants } from '../../../fakes/tenants.js';

export const audience = 'key-server';
export const start = Date.UTC(2026, 10, 22, 12);
export const seconds = start / 1000;

/** A server's authentication with two tenants, an operator and a delegate. */
export interface World {
  readonly tenants: MemoryTenants;
  readonly acme: Signer;
  readonly globex: Signer;
  readonly operator: Signer;
  /** Somebody whom acme may trust with something. */
  readonly ci: Signer;
  readonly clock: { now: number };
  readonly authenticate: Authenticate;
}

export async function makeWorld(issuers: readonly OidcIssuer[] = []): Promise<World> {
  const [acme, globex, operator, ci] = (await Promise.all(
    ['acme', 'globex', 'operator', 'ci'].map((name) => makeSigner(name)),
  )) as [Signer, Signer, Signer, Signer];
  const tenants = new MemoryTenants();
  for (const { name, publicKey } of [acme, globex]) {
    await tenants.register(name, encodeCoseKey(publicKey));
  }
  const clock = { now: start };
  const operatorKeys = [operator.publicKey];
  const authenticate = createAuthenticator({
    audience,
    operatorKeys,
    issuers,
    tenants,
    now: () => clock.now,
  });
  return { tenants, acme, globex, operator, ci, clock, authenticate };
}

/** Changes acme's record. */
export function changeAcme(w: World, change: Partial<Tenant>): Promise<Tenant> {
  return w.tenants.change('acme', 'limit_tenant', (tenant) => ({ ...tenant, ...change }));
}

export const byToken = (authorization: string) => ({
  authorization,
  tenant: undefined,
  certificate: () => undefined,
});

export const byCertificate = (tenant: string, certificate: X509Certificate | undefined) => ({
  authorization: undefined,
  tenant,
  certificate: () => certificate,
});

/** acme's word that ci may read, unless `wrong` says otherwise. */
export async function delegation(w: World, wrong: Partial<Delegation> = {}, by = w.acme) {
  return signDelegation(by.key, {
    iss: 'acme',
    sub: 'ci',
    aud: [audience, 'cvm-platform'],
    iat: seconds - 100,
    exp: seconds + 30 * 86_400,
    id: new Uint8Array(16).fill(7),
    scope: ['auditor', 'policy.write'],
    key: w.ci.publicKey,
    ...wrong,
  });
}

/** ci's token under a delegation. */
export async function delegatesToken(
  w: World,
  delegated: Uint8Array,
  wrong: Partial<CwtClaims> = {},
  by = w.ci,
): Promise<string> {
  const token = await mintCwt(by.key, {
    iss: 'acme',
    sub: 'ci',
    aud: audience,
    iat: seconds,
    exp: seconds + 300,
    cti: crypto.randomBytes(16),
    scope: ['tenant'],
    delegation: delegated,
    ...wrong,
  });
  return `Bearer ${toBase64Url(token)}`;
}
