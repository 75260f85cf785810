import {
  constants,
  generateKeyPairSync,
  type KeyObject,
  createHash as nodeHash,
  sign as nodeSign,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { concat, fromHex, toHex, utf8 } from '#core/bytes.js';
import {
  type Crypto,
  coordinateLength,
  type EcCurve,
  ecSpki,
  type SignatureAlgorithm,
} from '#core/crypto.js';
import { refusalOf } from '../refusal.js';
import { sharedVectors } from '../vectors.js';

const curves = ['P-256', 'P-384'] as const;
const es = { 'P-256': 'ES256', 'P-384': 'ES384' } as const;
const data = utf8('what is signed');
const flipped = (bytes: Uint8Array, at: number) => {
  const copy = bytes.slice();
  copy[at]! ^= 1;
  return copy;
};
const der = (key: KeyObject, type: 'spki' | 'pkcs8') =>
  new Uint8Array(
    type === 'spki'
      ? key.export({ format: 'der', type: 'spki' })
      : key.export({ format: 'der', type: 'pkcs8' }),
  );

/** What every implementation of core/crypto.ts does; `peer` is another one to interwork with. */
export function cryptoContract(name: string, crypto: Crypto, peer: Crypto): void {
  describe(name, () => {
    symmetric(crypto);
    signatures(crypto, peer);
    agreement(crypto, peer);
    keys(crypto);
    describe.skipIf(sharedVectors() === undefined)('Wycheproof (needs ../shared/vectors)', () =>
      wycheproof(crypto),
    );
  });
}

function symmetric(crypto: Crypto): void {
  it('random bytes are of the asked length and do not repeat', () => {
    expect(crypto.randomBytes(0)).toHaveLength(0);
    expect(crypto.randomBytes(70_000)).toHaveLength(70_000);
    expect(crypto.randomBytes(16)).not.toEqual(crypto.randomBytes(16));
  });

  it.each(['sha256', 'sha384'] as const)(
    '%s extends a register (TPM 2.0 Part 1 s.11.4)',
    (hash) => {
      const half = crypto.hash(hash).length;
      const both = new Uint8Array(2 * half).fill(7, half);
      for (let times = 0; times < 2; times++) {
        const expected = crypto.hash(hash, both.slice());
        crypto.extend(hash, both);
        expect(both).toEqual(concat(expected, new Uint8Array(half).fill(7)));
      }
    },
  );

  it('a turn lets what waits run', async () => {
    let hasRun = false;
    setTimeout(() => {
      hasRun = true;
    });
    for (let turns = 0; turns < 1000 && !hasRun; turns++) await crypto.turn();
    expect(hasRun).toBe(true);
  });

  it.each(['sha256', 'sha384', 'sha512'] as const)('%s over parts (FIPS 180-4)', (hash) => {
    const parts = [utf8('a'), new Uint8Array(), utf8('bc')];
    expect(toHex(crypto.hash(hash, ...parts))).toBe(nodeHash(hash).update('abc').digest('hex'));
  });

  it('hashes abc as FIPS 180-4 says', () => {
    expect(toHex(crypto.hash('sha256', utf8('abc')))).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
  });

  it('HMAC over parts (RFC 4231 s.4.3)', () => {
    const parts = [utf8('what do ya want '), utf8('for nothing?')];
    expect(toHex(crypto.hmac('sha256', utf8('Jefe'), ...parts))).toBe(
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    );
    expect(toHex(crypto.hmac('sha384', utf8('Jefe'), ...parts))).toBe(
      'af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649',
    );
  });

  it('AES-GCM of every key size (McGrew and Viega, cases 2, 8, 14)', () => {
    const rows = [
      [16, '0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf'],
      [24, '98e7247c07f0fe411c267e4384b0f6002ff58d80033927ab8ef4d4587514f0fb'],
      [32, 'cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919'],
    ] as const;
    for (const [length, expected] of rows) {
      const key = new Uint8Array(length);
      const sealed = crypto.aesGcmSeal(key, key.slice(0, 12), new Uint8Array(16), utf8(''));
      expect(toHex(sealed)).toBe(expected);
    }
  });

  it('XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha s.A.3.1)', () => {
    const plaintext = utf8(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the " +
        'future, sunscreen would be it.',
    );
    const key = fromHex('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f');
    const nonce = fromHex('404142434445464748494a4b4c4d4e4f5051525354555657');
    const sealed = crypto.xchachaSeal(key, nonce, plaintext, fromHex('50515253c0c1c2c3c4c5c6c7'));
    expect(toHex(sealed.slice(0, 16))).toBe('bd6d179d3e83d43b9576579493c0e939');
    expect(toHex(sealed.slice(-16))).toBe('c0875924c1c7987947deafd8780acf49');
  });

  it.each([
    ['aesGcm', 12],
    ['xchacha', 24],
  ] as const)('%s opens what it sealed, and nothing else', async (aead, ivLength) => {
    const [seal, open] = [crypto[`${aead}Seal`], crypto[`${aead}Open`]];
    const [key, iv, aad] = [crypto.randomBytes(32), crypto.randomBytes(ivLength), utf8('aad')];
    for (const length of [0, 1, 300]) {
      const plaintext = crypto.randomBytes(length);
      const sealed = seal(key, iv, plaintext, aad);
      expect(open(key, iv, sealed, aad)).toEqual(plaintext);
      const bad: Parameters<Crypto['aesGcmOpen']>[] = [
        [flipped(key, 0), iv, sealed, aad],
        [key, flipped(iv, 0), sealed, aad],
        [key, iv, flipped(sealed, 0), aad],
        [key, iv, flipped(sealed, sealed.length - 1), aad],
        [key, iv, sealed.slice(0, -1), aad],
        [key, iv, sealed.slice(0, 15), aad],
        [key, iv, utf8(''), aad],
        [key, iv, sealed, utf8('other')],
      ];
      for (const arguments_ of bad) {
        expect(await refusalOf(() => open(...arguments_))).toBe('DECRYPT_FAILED');
      }
    }
  });
}

function signatures(crypto: Crypto, peer: Crypto): void {
  it.each(curves)('ECDSA on %s: own signatures, and those of the other', async (curve) => {
    const key = await crypto.generateEcKey(curve);
    const spki = ecSpki(curve, key.publicPoint);
    const signature = await crypto.sign(key, data);
    expect(signature).toHaveLength(2 * coordinateLength[curve]);
    expect(await crypto.verify(es[curve], spki, signature, data)).toBe(true);
    expect(await peer.verify(es[curve], spki, signature, data)).toBe(true);
    for (let i = 0; i < signature.length; i += 7) {
      expect(await crypto.verify(es[curve], spki, flipped(signature, i), data)).toBe(false);
    }
    expect(await crypto.verify(es[curve], spki, signature, utf8('other'))).toBe(false);
    expect(await crypto.verify(es[curve], spki, signature.slice(1), data)).toBe(false);
    expect(await crypto.verify(es[curve], spki, utf8(''), data)).toBe(false);
    const zero = new Uint8Array(signature.length);
    expect(await crypto.verify(es[curve], spki, zero, data)).toBe(false);
  });

  it('a key of another curve or type verifies nothing', async () => {
    const key = await crypto.generateEcKey('P-384');
    const spki = ecSpki('P-384', key.publicPoint);
    const signature = await crypto.sign(key, data);
    for (const algorithm of ['ES256', 'PS256', 'PS384', 'RS256', 'RS384'] as const) {
      expect(await crypto.verify(algorithm, spki, signature, data)).toBe(false);
    }
    expect(await crypto.verify('ES384', utf8('no key'), signature, data)).toBe(false);
    const off = ecSpki('P-384', new Uint8Array(97).fill(4));
    expect(await crypto.verify('ES384', off, signature, data)).toBe(false);
  });

  describe('RSA', () => {
    let pair: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
    beforeAll(() => {
      pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
    });
    const rows: readonly [SignatureAlgorithm, string, number, number | undefined][] = [
      ['PS256', 'sha256', constants.RSA_PKCS1_PSS_PADDING, 32],
      ['PS384', 'sha384', constants.RSA_PKCS1_PSS_PADDING, 48],
      ['RS256', 'sha256', constants.RSA_PKCS1_PADDING, undefined],
      ['RS384', 'sha384', constants.RSA_PKCS1_PADDING, undefined],
    ];
    it.each(rows)('%s verifies its own kind only', async (algorithm, hash, padding, salt) => {
      const spki = der(pair.publicKey, 'spki');
      const options = { key: pair.privateKey, padding, ...(salt ? { saltLength: salt } : {}) };
      const signature = new Uint8Array(nodeSign(hash, data, options));
      for (const [other] of rows) {
        const sound = await crypto.verify(other, spki, signature, data);
        expect(sound, other).toBe(other === algorithm);
      }
      expect(await crypto.verify(algorithm, spki, flipped(signature, 9), data)).toBe(false);
      expect(await crypto.verify('ES256', spki, signature, data)).toBe(false);
    });

    it('a PSS salt of another length than the hash is refused', async () => {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      const options = { key: pair.privateKey, padding, saltLength: 20 };
      const signature = new Uint8Array(nodeSign('sha384', data, options));
      const spki = der(pair.publicKey, 'spki');
      expect(await crypto.verify('PS384', spki, signature, data)).toBe(false);
    });
  });
}

function agreement(crypto: Crypto, peer: Crypto): void {
  it.each(curves)('ECDH on %s agrees with the other', async (curve) => {
    const own = await crypto.generateEcKey(curve);
    const theirs = await peer.generateEcKey(curve);
    const shared = await crypto.ecdh(own, theirs.publicPoint);
    expect(shared).toHaveLength(coordinateLength[curve]);
    expect(shared).toEqual(await peer.ecdh(theirs, own.publicPoint));
  });

  it.each(curves)('ECDH on %s refuses what is no point of the curve', async (curve) => {
    const key = await crypto.generateEcKey(curve);
    const point = (await crypto.generateEcKey(curve)).publicPoint;
    const other: EcCurve = curve === 'P-256' ? 'P-384' : 'P-256';
    const bad = [
      flipped(point, point.length - 1),
      concat(new Uint8Array([4]), new Uint8Array(point.length - 1)),
      concat(new Uint8Array([2]), point.slice(1)),
      point.slice(0, -1),
      utf8(''),
      (await crypto.generateEcKey(other)).publicPoint,
    ];
    for (const wrong of bad) expect(await refusalOf(crypto.ecdh(key, wrong))).toBe('MALFORMED');
  });
}

function keys(crypto: Crypto): void {
  it.each(curves)('a key on %s survives export and import', async (curve) => {
    const key = await crypto.generateEcKey(curve);
    const again = await crypto.importEcKey(await crypto.exportEcKey(key));
    expect(again.curve).toBe(curve);
    expect(again.publicPoint).toEqual(key.publicPoint);
    const signature = await crypto.sign(again, data);
    const spki = ecSpki(curve, key.publicPoint);
    expect(await crypto.verify(es[curve], spki, signature, data)).toBe(true);
  });

  it('imports nothing but EC keys on the two curves', async () => {
    const bad = [
      utf8('no key'),
      utf8(''),
      der(generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).privateKey, 'pkcs8'),
      der(generateKeyPairSync('ed25519').privateKey, 'pkcs8'),
      der(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey, 'pkcs8'),
    ];
    for (const key of bad) expect(await refusalOf(crypto.importEcKey(key))).toBe('MALFORMED');
  });
}

interface Suite {
  readonly testGroups: readonly {
    readonly ivSize?: number;
    readonly publicKeyDer?: string;
    readonly tests: readonly (Readonly<Record<string, string>> & { readonly tcId: number })[];
  }[];
}

function suite(file: string): Suite {
  const path = join(sharedVectors() ?? '', 'cose/wycheproof', file);
  return JSON.parse(readFileSync(path, 'utf8')) as Suite;
}

function wycheproof(crypto: Crypto): void {
  it('AES-GCM', async () => {
    for (const { ivSize, tests } of suite('aes_gcm_test.json').testGroups) {
      if (ivSize !== 96) continue;
      for (const test of tests) {
        const hex = (name: string) => fromHex(test[name] ?? '');
        const sealed = concat(hex('ct'), hex('tag'));
        const code = await refusalOf(() =>
          expect(crypto.aesGcmOpen(hex('key'), hex('iv'), sealed, hex('aad'))).toEqual(hex('msg')),
        );
        const expected = test.result === 'valid' ? 'accepted' : 'DECRYPT_FAILED';
        expect(code, `test ${test.tcId}`).toBe(expected);
      }
    }
  });

  it('ECDSA on P-256, raw signatures', async () => {
    for (const group of suite('ecdsa_secp256r1_sha256_p1363_test.json').testGroups) {
      const spki = fromHex(group.publicKeyDer ?? '');
      for (const test of group.tests) {
        const [signature, message] = [fromHex(test.sig ?? ''), fromHex(test.msg ?? '')];
        const sound = await crypto.verify('ES256', spki, signature, message);
        expect(sound, `test ${test.tcId}`).toBe(test.result === 'valid');
      }
    }
  });
}
