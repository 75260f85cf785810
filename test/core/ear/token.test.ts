import { beforeAll, describe, expect, test } from 'vitest';
import { fromUtf8, toBase64Url, utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { type Tier, tierOf } from '#core/ear/ar4si.js';
import type { Ear } from '#core/ear/ear.js';
import { parseEar, publicKeyOf, signCwt, signJwt, verifyEar } from '#core/ear/token.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { appraisal, ear, issuedAt, testAt } from './made.js';

let key: EcPrivateKey;
let other: EcPrivateKey;
beforeAll(async () => {
  [key, other] = await Promise.all([crypto.generateEcKey('P-256'), crypto.generateEcKey('P-384')]);
});

const forms = [
  ['CWT', signCwt],
  ['JWT', signJwt],
] as const;
const time = { at: testAt, ageSecondsMax: 300 };

async function codeOf(bytes: Uint8Array, keys = [key, other], at = testAt): Promise<string> {
  try {
    await verifyEar(parseEar(bytes), keys.map(publicKeyOf), { ...time, at });
    return 'accepted';
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return error.code;
  }
}

/** A JWT with any header and payload. */
async function jwt(header: object | string, payload: object | string): Promise<Uint8Array> {
  const text = (part: object | string) => (typeof part === 'string' ? part : JSON.stringify(part));
  const parts = [header, payload].map((part) => toBase64Url(utf8(text(part))));
  const signature = await crypto.sign(key, utf8(parts.join('.')));
  return utf8(`${parts.join('.')}.${toBase64Url(signature)}`);
}

const cwt = (claims: readonly (readonly [number, CborValue])[]) =>
  sign1(key, encode(new Map(claims)));

const plainJson = {
  eat_profile: 'tag:github.com,2023:veraison/ear',
  iat: issuedAt,
  'ear.verifier-id': { developer: 'd', build: 'b' },
  submods: { a: { 'ear.status': 'affirming' } },
};
const plainCbor: readonly (readonly [number, CborValue])[] = [
  [265, 'tag:github.com,2023:veraison/ear'],
  [6, issuedAt],
  [
    1004,
    new Map([
      [0, 'd'],
      [1, 'b'],
    ] as const),
  ],
  [266, new Map([['a', new Map([[1000, 2]])]])],
];
const es256 = { alg: 'ES256' };

describe.each(forms)('EAR as %s (draft-ietf-rats-ear s.3)', (_name, sign) => {
  test.each<[string, () => Partial<Ear>]>([
    ['with everything', () => ({ nonces: [new Uint8Array(8).fill(1), new Uint8Array(64)] })],
    ['with a confirmation key', () => ({ confirmationKey: publicKeyOf(other) })],
    ['with the least', () => ({ expiresAt: undefined, status: undefined, rawEvidence: undefined })],
    [
      'of the working group',
      () => ({
        profile: 'tag:ietf.org,2026:rats/ear#03',
        submods: new Map([
          ['a', appraisal({ policyIds: ['one', 'two'] })],
          ['b', appraisal({ vector: undefined, policyIds: [], nonces: [], cvmp: undefined })],
        ]),
      }),
    ],
  ])('what was signed is read again, %s', async (_what, change) => {
    const claims = ear(change());
    for (const signer of [key, other]) {
      const signed = parseEar(await sign(signer, claims));
      expect(signed.claims).toEqual(claims);
      const by = await verifyEar(signed, [publicKeyOf(key), publicKeyOf(other)], time);
      expect(by.curve).toBe(signer.curve);
    }
  });

  test('a result of somebody else is refused', async () => {
    const bytes = await sign(key, ear());
    expect(await codeOf(bytes, [other])).toBe('VERIFIER_UNTRUSTED');
    expect(await codeOf(bytes, [])).toBe('VERIFIER_UNTRUSTED');
  });

  test.each<[string, number, Partial<Ear>, string]>([
    ['as old as it may be', 300, {}, 'accepted'],
    ['older than it may be', 301, {}, 'RESULT_STALE'],
    ['a little ahead', -60, {}, 'accepted'],
    ['from the future', -61, {}, 'RESULT_STALE'],
    ['expired', 100, { expiresAt: issuedAt + 100 }, 'RESULT_STALE'],
    ['about to expire', 99, { expiresAt: issuedAt + 100 }, 'accepted'],
  ])('%s', async (_what, seconds, change, expected) => {
    const bytes = await sign(key, ear(change));
    expect(await codeOf(bytes, [key], testAt + seconds * 1000)).toBe(expected);
  });

  test('every truncation and every flipped byte is refused with a code', async () => {
    const bytes = await sign(key, ear({ nonces: [new Uint8Array(8).fill(1)] }));
    for (let i = 0; i < bytes.length; i++) {
      expect(await codeOf(bytes.subarray(0, i)), `cut at ${i}`).not.toBe('accepted');
      const flipped = bytes.slice();
      flipped[i] = flipped[i]! ^ 0x21;
      expect(await codeOf(flipped), `flipped ${i}`).not.toBe('accepted');
    }
  });

  test('s.3.1: a status never claims more trust than the claims that it sums up', async () => {
    const cases: [Tier, number, boolean][] = [
      ['affirming', 32, false],
      ['warning', 32, true],
      ['warning', 96, false],
      ['contraindicated', 2, true],
      ['none', 96, true],
    ];
    for (const [status, claim, sound] of cases) {
      const one = appraisal({ status, vector: { hardware: claim } });
      const made = ear({ status: 'contraindicated', submods: new Map([['a', one]]) });
      if (sound) expect(await codeOf(await sign(key, made))).toBe('accepted');
      else await expect(sign(key, made)).rejects.toThrow(CvmpError);
    }
  });
});

describe('strictness (draft-ietf-rats-ear, RFC 9711, RFC 7515)', () => {
  test('foreign results of the least shape are read', async () => {
    expect(await codeOf(await jwt(es256, plainJson))).toBe('accepted');
    expect(await codeOf(await cwt(plainCbor))).toBe('accepted');
    const tagged = encode(new Tag(61, 0)).subarray(0, 2);
    const inner = await cwt(plainCbor);
    expect(await codeOf(Uint8Array.of(...tagged, ...inner))).toBe('accepted');
  });

  test('s.4: claims that are not known are read over', async () => {
    expect(await codeOf(await jwt(es256, { ...plainJson, more: { than: 1 } }))).toBe('accepted');
    expect(await codeOf(await cwt([...plainCbor, [-99999, 'more']]))).toBe('accepted');
  });

  const { submods: _, ...noSubmods } = plainJson;
  test.each<[string, object | string, object | string, string]>([
    ['alg none', { alg: 'none' }, plainJson, 'UNSUPPORTED_ALGORITHM'],
    ['alg HS256', { alg: 'HS256' }, plainJson, 'UNSUPPORTED_ALGORITHM'],
    ['the algorithm of another curve', { alg: 'ES384' }, plainJson, 'VERIFIER_UNTRUSTED'],
    ['crit', { ...es256, crit: ['b64'], b64: false }, plainJson, 'UNKNOWN_CRITICAL'],
    ['another typ', { ...es256, typ: 'at+jwt' }, plainJson, 'MALFORMED'],
    ['a name twice', es256, '{"iat":1,"iat":2}', 'MALFORMED'],
    ['a name twice in the header', '{"alg":"ES256","alg":"none"}', plainJson, 'MALFORMED'],
    ['no JSON', es256, 'iat', 'MALFORMED'],
    ['a list', es256, '[]', 'MALFORMED'],
    ['an unknown profile', es256, { ...plainJson, eat_profile: 'x' }, 'UNSUPPORTED_VERSION'],
    ['iat as a text', es256, { ...plainJson, iat: '1' }, 'MALFORMED'],
    ['exp with a fraction', es256, { ...plainJson, exp: issuedAt + 0.5 }, 'MALFORMED'],
    ['exp before iat', es256, { ...plainJson, exp: issuedAt - 1 }, 'MALFORMED'],
    ['no submodule', es256, noSubmods, 'MALFORMED'],
    ['no member in submods', es256, { ...plainJson, submods: {} }, 'SIZE'],
    ['no status', es256, { ...plainJson, submods: { a: {} } }, 'MALFORMED'],
    ['a status that is none', es256, { ...plainJson, 'ear.status': 'fine' }, 'MALFORMED'],
    ['a nonce of 7 bytes', es256, { ...plainJson, eat_nonce: 'AAAAAAAAAA' }, 'SIZE'],
    [
      'a category that there is not',
      es256,
      {
        ...plainJson,
        submods: { a: { 'ear.status': 2, 'ear.trustworthiness-vector': { mood: 2 } } },
      },
      'MALFORMED',
    ],
    [
      'a claim beyond one octet',
      es256,
      {
        ...plainJson,
        submods: { a: { 'ear.status': 2, 'ear.trustworthiness-vector': { hardware: 128 } } },
      },
      'SIZE',
    ],
    [
      'a private key in cnf',
      es256,
      { ...plainJson, cnf: { jwk: { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', d: 'AA' } } },
      'MALFORMED',
    ],
  ])('JWT with %s', async (_what, header, payload, code) => {
    expect(await codeOf(await jwt(header, payload))).toBe(code);
  });

  const without = (key_: number) => plainCbor.filter(([label]) => label !== key_);
  const submods = (value: CborValue) => [...without(266), [266, value] as const];
  test.each<[string, readonly (readonly [number, CborValue])[], string]>([
    ['no profile', without(265), 'MALFORMED'],
    ['no iat', without(6), 'MALFORMED'],
    ['no verifier', without(1004), 'MALFORMED'],
    ['no submodule', without(266), 'MALFORMED'],
    ['a tier that is none', submods(new Map([['a', new Map([[1000, 3]])]])), 'MALFORMED'],
    ['a label that is a number', submods(new Map([[1, new Map([[1000, 2]])]])), 'MALFORMED'],
    [
      'a category that there is not',
      submods(
        new Map([
          [
            'a',
            new Map<number, CborValue>([
              [1000, 2],
              [1001, new Map([[8, 2]])],
            ]),
          ],
        ]),
      ),
      'MALFORMED',
    ],
  ])('CWT with %s', async (_what, claims, code) => {
    expect(await codeOf(await cwt(claims))).toBe(code);
  });

  test('a token of another type, signed by the same key, is none', async () => {
    const typed = await sign1(key, encode(new Map(plainCbor)), {
      protected: new Map([[16, 'application/cvmp-policy+protobuf']]),
    });
    expect(await codeOf(typed)).toBe('MALFORMED');
  });

  test('line ends after a JWT are none of it', async () => {
    const text = fromUtf8(await jwt(es256, plainJson));
    expect(await codeOf(utf8(`${text}\n`))).toBe('accepted');
    expect(await codeOf(utf8(`${text}\n\n`))).toBe('MALFORMED');
  });
});

describe('AR4SI (draft-ietf-rats-ar4si s.2.3.2)', () => {
  test.each<[Tier, readonly number[]]>([
    ['none', [-1, 0, 1]],
    ['affirming', [2, 31, -2, -32]],
    ['warning', [32, 95, -33, -96]],
    ['contraindicated', [96, 127, -97, -128]],
  ])('%s', (tier, claims) => {
    for (const claim of claims) expect(tierOf(claim), `${claim}`).toBe(tier);
  });
});
