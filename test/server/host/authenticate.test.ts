import { describe, expect, test } from 'vitest';
import { fromBase64Url, toBase64Url } from '#core/bytes.js';
import type { CwtClaims } from '#core/cose/cwt.js';
import { encodeCoseKey } from '#core/cose/key.js';
import { crypto } from '#crypto';
import { type Authenticate, createAuthenticator } from '#server/host/callers/authenticate.js';
import { allVerbs } from '#server/host/callers/verbs.js';
import { bearer, makeSigner, type Signer } from '../../fakes/callers.js';
import { MemoryTenants } from '../../fakes/tenants.js';
import { refusalOf } from '../../refusal.js';

const audience = 'key-server';
const start = Date.UTC(2026, 10, 22, 12);
const seconds = start / 1000;

interface World {
  readonly authenticate: Authenticate;
  readonly tenants: MemoryTenants;
  readonly acme: Signer;
  readonly operator: Signer;
  readonly clock: { now: number };
}

async function world(): Promise<World> {
  const acme = await makeSigner('acme', 'P-384');
  const operator = await makeSigner('operator');
  const tenants = new MemoryTenants();
  await tenants.register('acme', encodeCoseKey(acme.publicKey));
  const clock = { now: start };
  const authenticate = createAuthenticator({
    audience,
    operatorKeys: [operator.publicKey],
    issuers: [],
    tenants,
    now: () => clock.now,
  });
  return { authenticate, tenants, acme, operator, clock };
}

const ask = (w: World, authorization: string | undefined) =>
  w.authenticate({ authorization, tenant: undefined, certificate: () => undefined });

describe('bearer tokens (RFC 8392; docs/protocol.md, callers)', () => {
  test('a tenant and an operator are known by their own keys', async () => {
    const w = await world();
    expect(await ask(w, await bearer(w.acme, audience, start))).toEqual({
      role: 'tenant',
      tenantId: 'acme',
      verbs: allVerbs('tenant'),
      actor: 'key',
    });
    expect(await ask(w, await bearer(w.operator, audience, start))).toEqual({
      role: 'operator',
      verbs: allVerbs('operator'),
      actor: 'key',
    });
  });

  test('no header is TOKEN_MISSING', async () => {
    const w = await world();
    expect(await refusalOf(ask(w, undefined))).toBe('TOKEN_MISSING');
    expect(await refusalOf(ask(w, ''))).toBe('TOKEN_MISSING');
  });

  const wrongClaims: readonly (readonly [string, Partial<CwtClaims>])[] = [
    ['issued by an unknown tenant', { iss: 'nobody', sub: 'nobody' }],
    ['issued by the operator, signed by a tenant', { iss: 'operator', sub: 'operator' }],
    ['on behalf of somebody else', { sub: 'globex' }],
    ['for another server', { aud: 'cvm-platform' }],
    ['expired', { iat: seconds - 1000, exp: seconds - 61 }],
    ['expired before it was issued', { iat: seconds, exp: seconds - 1 }],
    ['living longer than an hour', { exp: seconds + 3601 }],
    ['issued in the future', { iat: seconds + 61, exp: seconds + 600 }],
    ['not valid yet', { nbf: seconds + 61 }],
    ['with the role of an operator', { scope: ['operator'] }],
    ['without a role', { scope: [] }],
    ['with a short id', { cti: new Uint8Array(15) }],
    ['with an endless issuer', { iss: 'a'.repeat(257) }],
  ];
  test.each(wrongClaims)('a token %s is TOKEN_INVALID', async (_what, wrong) => {
    const w = await world();
    const header = await bearer(w.acme, audience, start, wrong);
    expect(await refusalOf(ask(w, header))).toBe('TOKEN_INVALID');
  });

  test('an operator token signed by a key that is not configured is TOKEN_INVALID', async () => {
    const w = await world();
    const stranger = await makeSigner('operator');
    const header = await bearer(stranger, audience, start);
    expect(await refusalOf(ask(w, header))).toBe('TOKEN_INVALID');
  });

  test('a tenant may not sign with another key, nor another tenant for it', async () => {
    const w = await world();
    const stranger = { ...(await makeSigner('acme')), name: 'acme' };
    const header = await bearer(stranger, audience, start);
    expect(await refusalOf(ask(w, header))).toBe('TOKEN_INVALID');
  });

  test.each([
    ['another scheme', (t: string) => t.replace('Bearer', 'Basic')],
    ['two tokens', (t: string) => `${t} ${t}`],
    ['other base64', (t: string) => `${t}==`],
    ['nothing after the scheme', () => 'Bearer '],
    ['an endless token', () => `Bearer ${'A'.repeat(100_000)}`],
    ['random bytes', () => `Bearer ${toBase64Url(crypto.randomBytes(200))}`],
  ])('a header of %s is TOKEN_INVALID', async (_what, change) => {
    const w = await world();
    const header = change(await bearer(w.acme, audience, start));
    expect(await refusalOf(ask(w, header))).toBe('TOKEN_INVALID');
  });

  test('every flipped byte of a token is TOKEN_INVALID', async () => {
    const w = await world();
    const token = fromBase64Url((await bearer(w.acme, audience, start)).slice('Bearer '.length));
    for (let i = 0; i < token.length; i++) {
      const flipped = token.map((octet, at) => (at === i ? octet ^ 0x01 : octet));
      const outcome = await refusalOf(ask(w, `Bearer ${toBase64Url(flipped)}`));
      expect(`${i}: ${outcome}`).toBe(`${i}: TOKEN_INVALID`);
    }
  });

  test('a verified token is remembered only until it expires', async () => {
    const w = await world();
    const header = await bearer(w.acme, audience, start);
    await ask(w, header);
    w.clock.now = start + 599_000;
    expect(await refusalOf(ask(w, header))).toBe('accepted');
    w.clock.now = start + 661_000;
    expect(await refusalOf(ask(w, header))).toBe('TOKEN_INVALID');
  });

  test('a remembered token dies with the registration of its key', async () => {
    const w = await world();
    const header = await bearer(w.acme, audience, start);
    await ask(w, header);
    w.tenants.tenants.delete('acme');
    expect(await refusalOf(ask(w, header))).toBe('TOKEN_INVALID');
    const next = await makeSigner('acme');
    await w.tenants.register('acme', encodeCoseKey(next.publicKey));
    expect(await refusalOf(ask(w, header))).toBe('TOKEN_INVALID');
    expect(await refusalOf(ask(w, await bearer(next, audience, start)))).toBe('accepted');
  });
});
