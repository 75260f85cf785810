import { beforeAll, describe, expect, it } from 'vitest';
import { equalBytes } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { type CwtClaims, mintCwt, verifyCwt } from '#core/cose/cwt.js';
import { type EcPublicKey, ecPublicKey, thumbprint } from '#core/cose/key.js';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';

const now = 1_800_000_000;
const good: CwtClaims = {
  iss: 'acme',
  sub: 'deployer',
  aud: 'cvm-platform',
  exp: now + 300,
  iat: now,
  cti: new Uint8Array(16).fill(1),
  scope: ['cvm.create', 'cvm.list'],
};
const rules = { nowSeconds: now, audience: 'cvm-platform', lifetimeSecondsMax: 900 };

let key: EcPrivateKey;
let pub: EcPublicKey;
beforeAll(async () => {
  key = await crypto.generateEcKey('P-256');
  pub = ecPublicKey('P-256', key.publicPoint);
});

const resolve = ({ iss }: CwtClaims, kid: Uint8Array) =>
  iss === 'acme' && equalBytes(kid, thumbprint(pub)) ? pub : undefined;

describe('CWT (RFC 8392) as bearer token', () => {
  it('gives back the claims', async () => {
    expect(await verifyCwt(await mintCwt(key, good), resolve, rules)).toEqual(good);
    const more = { ...good, nbf: now + 10, scope: [] };
    expect(await verifyCwt(await mintCwt(key, more), resolve, rules)).toEqual(more);
  });

  it.each<[string, Partial<CwtClaims>]>([
    ['another issuer', { iss: 'other' }],
    ['another audience', { aud: 'key-server' }],
    ['expired', { iat: now - 500, exp: now - 61 }],
    ['issued in the future', { iat: now + 61, exp: now + 300 }],
    ['not yet valid', { nbf: now + 61 }],
    ['a lifetime above the rule', { exp: now + 901 }],
    ['a lifetime of nothing', { exp: now }],
    ['a short cti', { cti: new Uint8Array(8) }],
    ['an empty subject', { sub: '' }],
  ])('refuses %s', async (_, change) => {
    const bytes = await mintCwt(key, { ...good, ...change });
    expect(await refusalOf(verifyCwt(bytes, resolve, rules))).toBe('TOKEN_INVALID');
  });

  it('tolerates a clock that is off by less than the skew', async () => {
    const bytes = await mintCwt(key, { ...good, iat: now + 59 });
    expect(await refusalOf(verifyCwt(bytes, resolve, rules))).toBe('accepted');
  });

  it('refuses another signer, any changed byte, and a signed object of another type', async () => {
    const other = await crypto.generateEcKey('P-256');
    const foreign = await mintCwt(other, good);
    expect(await refusalOf(verifyCwt(foreign, resolve, rules))).toBe('TOKEN_INVALID');
    expect(await refusalOf(verifyCwt(foreign, () => pub, rules))).toBe('TOKEN_INVALID');
    const bytes = await mintCwt(key, good);
    for (let i = 0; i < bytes.length; i++) {
      const changed = bytes.slice();
      changed[i]! ^= 0x01;
      expect(await refusalOf(verifyCwt(changed, resolve, rules)), `byte ${i}`).toBe(
        'TOKEN_INVALID',
      );
    }
    const untyped = await sign1(key, encode(new Map()), {
      protected: new Map([[4, thumbprint(pub)]]),
    });
    expect(await refusalOf(verifyCwt(untyped, resolve, rules))).toBe('TOKEN_INVALID');
    await expect(mintCwt(key, { ...good, scope: ['two words'] })).rejects.toThrow(TypeError);
  });
});
