import { describe, expect, test } from 'vitest';
import { fromBase64Url, toBase64Url } from '#core/bytes.js';
import type { CwtClaims } from '#core/cose/cwt.js';
import type { Delegation } from '#core/cose/delegation.js';
import { verbsOfScope } from '#server/host/callers/verbs.js';
import { refusalOf } from '../../../refusal.js';
import {
  byToken,
  changeAcme,
  delegatesToken,
  delegation,
  makeWorld,
  seconds,
  start,
  type World,
} from './world.js';

const ask = async (w: World, token: string | Promise<string>) =>
  w.authenticate(byToken(await token));

describe('delegations (RFC 8392, RFC 8747; protocol.md s.6.5)', () => {
  test('a delegate speaks for the tenant, with the verbs that delegation and token share', async () => {
    const w = await makeWorld();
    const caller = await ask(w, delegatesToken(w, await delegation(w)));
    expect(caller).toEqual({
      role: 'tenant',
      tenantId: 'acme',
      actor: 'delegate ci',
      verbs: verbsOfScope('tenant', ['auditor', 'policy.write']),
    });
    const less = await ask(w, delegatesToken(w, await delegation(w), { scope: ['audit.read'] }));
    expect(less).toMatchObject({ verbs: new Set(['audit.read']) });
    const none = await ask(w, delegatesToken(w, await delegation(w), { scope: ['key.destroy'] }));
    expect(none).toMatchObject({ verbs: new Set() });
  });

  const wrongDelegations: readonly (readonly [string, Partial<Delegation>])[] = [
    ['of another tenant', { iss: 'globex' }],
    ['for other servers', { aud: ['cvm-platform'] }],
    ['that is over', { iat: seconds - 1000, exp: seconds - 61 }],
    ['that is not valid yet', { iat: seconds + 61 }],
    ['that ends before it begins', { exp: seconds - 101 }],
    ['that lives longer than a year', { exp: seconds + 367 * 86_400 }],
    ['of an unknown verb', { scope: ['key.steal'] }],
    ["of an operator's role", { scope: ['operator'] }],
    ['with a short id', { id: new Uint8Array(15) }],
  ];
  test.each(wrongDelegations)(
    'a token under a delegation %s is TOKEN_INVALID',
    async (_, wrong) => {
      const w = await makeWorld();
      const token = delegatesToken(w, await delegation(w, wrong));
      expect(await refusalOf(ask(w, token))).toBe('TOKEN_INVALID');
    },
  );

  const wrongTokens: readonly (readonly [string, Partial<CwtClaims>])[] = [
    ['in the name of somebody else', { sub: 'cd' }],
    ['in the name of the tenant itself', { sub: 'acme' }],
    ['for another tenant', { iss: 'globex' }],
    ['for another server', { aud: 'cvm-platform' }],
    ['that is expired', { iat: seconds - 1000, exp: seconds - 61 }],
    ['that lives longer than an hour', { exp: seconds + 3601 }],
  ];
  test.each(wrongTokens)("a delegate's token %s is TOKEN_INVALID", async (_, wrong) => {
    const w = await makeWorld();
    const token = delegatesToken(w, await delegation(w), wrong);
    expect(await refusalOf(ask(w, token))).toBe('TOKEN_INVALID');
  });

  test('nobody delegates but the tenant: not another tenant, an operator, or a delegate', async () => {
    const w = await makeWorld();
    for (const by of [w.globex, w.operator, w.ci]) {
      const token = delegatesToken(w, await delegation(w, {}, by));
      expect(await refusalOf(ask(w, token))).toBe('TOKEN_INVALID');
    }
  });

  test('the delegated key signs, no other: a delegation that was stolen is nothing', async () => {
    const w = await makeWorld();
    for (const by of [w.globex, w.acme]) {
      const token = delegatesToken(w, await delegation(w), {}, by);
      expect(await refusalOf(ask(w, token))).toBe('TOKEN_INVALID');
    }
  });

  test('every flipped byte of token and delegation is TOKEN_INVALID', async () => {
    const w = await makeWorld();
    const token = (await delegatesToken(w, await delegation(w))).slice('Bearer '.length);
    const bytes = fromBase64Url(token);
    for (let i = 0; i < bytes.length; i += 3) {
      const flipped = bytes.map((octet, at) => (at === i ? octet ^ 0x01 : octet));
      const outcome = await refusalOf(ask(w, `Bearer ${toBase64Url(flipped)}`));
      expect(`${i}: ${outcome}`).toBe(`${i}: TOKEN_INVALID`);
    }
  });

  test('a revocation by id ends it at once, also for a token that was seen before', async () => {
    const w = await makeWorld();
    const mine = await delegatesToken(w, await delegation(w));
    const other = await delegation(w, { id: new Uint8Array(16).fill(8) });
    expect(await refusalOf(ask(w, mine))).toBe('accepted');
    const revoked = [{ id: new Uint8Array(16).fill(7), until: seconds + 1000 }];
    await changeAcme(w, { delegations: { notBefore: 0, revoked } });
    expect(await refusalOf(ask(w, mine))).toBe('TOKEN_INVALID');
    expect(await refusalOf(ask(w, delegatesToken(w, other)))).toBe('accepted');
  });

  test('a revocation by time ends all that were issued before it', async () => {
    const w = await makeWorld();
    const mine = await delegatesToken(w, await delegation(w));
    expect(await refusalOf(ask(w, mine))).toBe('accepted');
    await changeAcme(w, { delegations: { notBefore: seconds, revoked: [] } });
    expect(await refusalOf(ask(w, mine))).toBe('TOKEN_INVALID');
    const fresh = await delegation(w, { iat: seconds });
    expect(await refusalOf(ask(w, delegatesToken(w, fresh)))).toBe('accepted');
  });

  test('a token does not outlive the delegation under it', async () => {
    const w = await makeWorld();
    const short = await delegation(w, { exp: seconds + 60 });
    const token = await delegatesToken(w, short, { exp: seconds + 3000 });
    expect(await refusalOf(ask(w, token))).toBe('accepted');
    w.clock.now = start + 121_000;
    expect(await refusalOf(ask(w, token))).toBe('TOKEN_INVALID');
  });
});
