import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { concat } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { parseCcaToken } from '#core/cca/token.js';
import { sign1 } from '#core/cose/sign1.js';
import {
  type ClaimChange,
  collection,
  component,
  FakeCca,
  implementationId,
  instanceId,
} from '../../fakes/cca.js';
import { refusalOf } from '../../refusal.js';

let cca: FakeCca;
let good: Uint8Array;
beforeAll(async () => {
  cca = await FakeCca.create();
  good = await cca.token();
});

const refusal = (bytes: Uint8Array) => refusalOf(() => parseCcaToken(bytes));

describe('CCA token (draft-ffm-rats-cca-token s.4)', () => {
  it('claims of both parts are read', () => {
    const { platform, realm } = parseCcaToken(good);
    expect(platform.claims).toMatchObject({ implementationId, instanceId, lifecycle: 0x3003 });
    expect(platform.claims.components.map(({ type, hash }) => [type, hash])).toEqual([
      ['RMM', 'sha256'],
      ['AP_BL31', 'sha256'],
    ]);
    expect(realm.claims.challenge).toEqual(new Uint8Array(64).fill(7));
    expect(realm.claims.extensibleMeasurements).toHaveLength(4);
    expect(realm.claims.publicKey.point).toEqual(cca.realmKey.publicPoint);
  });

  it('the realm key may be a bare point, as in older tokens', async () => {
    const { realm } = parseCcaToken(await cca.token({ barePoint: true }));
    expect(realm.claims.publicKey.point).toEqual(cca.realmKey.publicPoint);
    expect(realm.claims.publicKeyBytes).toEqual(cca.realmKey.publicPoint);
  });

  it('members may be in byte strings or not', async () => {
    const { platform, realm } = parseCcaToken(await cca.token({ unwrapped: true }));
    expect([platform.claims, realm.claims.hash]).toEqual([
      parseCcaToken(good).platform.claims,
      'sha256',
    ]);
  });

  it('claims that nobody knows are read over', async () => {
    const more = { platform: { 9999: 'more' }, realm: { 9999: [1, 2] } };
    expect(await refusal(await cca.token(more))).toBe('accepted');
  });

  it('a component may have its own hash and lack what is optional', async () => {
    const measurement = new Uint8Array(64);
    const own = component('', { 1: undefined, 2: measurement, 4: undefined, 6: 'sha-512' });
    const { platform } = parseCcaToken(await cca.token({ platform: { 2399: [own] } }));
    expect(platform.claims.components[0]).toMatchObject({
      type: undefined,
      version: undefined,
      hash: 'sha512',
      measurement,
    });
  });
});

describe('what is no such token is refused', () => {
  const platform: [string, ClaimChange, string][] = [
    ['another profile', { 265: 'tag:arm.com,2023:cca_platform#2.0.0' }, 'UNSUPPORTED_VERSION'],
    ['no profile', { 265: undefined }, 'MALFORMED'],
    ['no challenge', { 10: undefined }, 'MALFORMED'],
    ['a challenge of 31 bytes', { 10: new Uint8Array(31) }, 'SIZE'],
    ['an instance id of 32 bytes', { 256: new Uint8Array(32) }, 'SIZE'],
    ['an instance id that is no UEID', { 256: new Uint8Array(33) }, 'MALFORMED'],
    ['an implementation id of 33 bytes', { 2396: new Uint8Array(33) }, 'SIZE'],
    ['a lifecycle that is a text', { 2395: 'secured' }, 'MALFORMED'],
    ['no components', { 2399: [] }, 'SIZE'],
    [
      'a component without measurement',
      { 2399: [component('RMM', { 2: undefined })] },
      'MALFORMED',
    ],
    ['a component without signer', { 2399: [component('RMM', { 5: undefined })] }, 'MALFORMED'],
    [
      'a measurement of another length',
      { 2399: [component('RMM', { 2: new Uint8Array(48) })] },
      'SIZE',
    ],
    ['a component that is no map', { 2399: [1] }, 'MALFORMED'],
    ['an unknown hash', { 2402: 'sha-1' }, 'UNSUPPORTED_ALGORITHM'],
  ];
  it.each(platform)('platform: %s', async (_, change, code) => {
    expect(await refusal(await cca.token({ platform: change }))).toBe(code);
  });

  const realm: [string, ClaimChange, string][] = [
    ['another profile', { 265: 'tag:arm.com,2023:other#1.0.0' }, 'UNSUPPORTED_VERSION'],
    ['no profile, as in older tokens', { 265: undefined }, 'accepted'],
    ['a challenge of 32 bytes', { 10: new Uint8Array(32) }, 'SIZE'],
    ['a personalization value of 32 bytes', { 44235: new Uint8Array(32) }, 'SIZE'],
    ['an unknown hash', { 44236: 'md5' }, 'UNSUPPORTED_ALGORITHM'],
    ['a measurement of another length', { 44238: new Uint8Array(48) }, 'SIZE'],
    ['three registers', { 44239: [1, 2, 3].map(() => new Uint8Array(32)) }, 'SIZE'],
    ['a register of another length', { 44239: [1, 2, 3, 4].map(() => new Uint8Array(31)) }, 'SIZE'],
    ['no key', { 44237: undefined }, 'MALFORMED'],
    ['a key that is neither point nor COSE_Key', { 44237: new Uint8Array(97) }, 'MALFORMED'],
    ['a key of another type', { 44237: encode(new Map([[1, 4]])) }, 'MALFORMED'],
    ['no hash of the key', { 44240: undefined }, 'MALFORMED'],
  ];
  it.each(realm)('realm: %s', async (_, change, code) => {
    expect(await refusal(await cca.token({ realm: change }))).toBe(code);
  });

  it('a collection of another shape', async () => {
    const key = cca.platformKey;
    const member = await sign1(key, encode(cca.platformClaims()));
    const both: [number, Uint8Array][] = [
      [44234, member],
      [44241, await sign1(cca.realmKey, encode(cca.realmClaims()))],
    ];
    expect(await refusal(collection(new Map(both)))).toBe('accepted');
    expect(await refusal(collection(new Map(both), 400))).toBe('MALFORMED');
    expect(await refusal(collection(new Map(both.slice(0, 1))))).toBe('MALFORMED');
    expect(await refusal(collection(new Map(both.slice(1))))).toBe('MALFORMED');
    expect(await refusal(collection(new Map([...both, [1, member]])))).toBe('MALFORMED');
    expect(await refusal(encode(new Map(both)))).toBe('MALFORMED');
    expect(await refusal(concat(good, Uint8Array.of(0)))).toBe('MALFORMED');
    const detached = encode(new Map([[44234, 1]]));
    expect(await refusal(detached)).toBe('MALFORMED');
  });

  it('every truncation', async () => {
    for (let length = 0; length < good.length; length++) {
      expect(await refusal(good.slice(0, length)), `${length}`).not.toBe('accepted');
    }
  });

  it('any bytes give a coded error or a token, never a crash', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: good.length - 9 }),
        fc.uint8Array({ maxLength: 8 }),
        async (at, bytes) => {
          const changed = good.slice();
          changed.set(bytes, at);
          expect(await refusal(changed)).not.toBe('');
        },
      ),
      { numRuns: 300 },
    );
  });
});
