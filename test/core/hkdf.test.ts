import { expect, it } from 'vitest';
import { fromHex, toHex } from '#core/bytes.js';
import { hkdfExpand, hkdfExtract } from '#core/hkdf.js';
import { refusalOf } from '../refusal.js';

it.each([
  {
    name: 'RFC 5869 A.1',
    ikm: '0b'.repeat(22),
    salt: '000102030405060708090a0b0c',
    info: 'f0f1f2f3f4f5f6f7f8f9',
    prk: '077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5',
    okm: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  },
  {
    name: 'RFC 5869 A.3, without salt and info',
    ikm: '0b'.repeat(22),
    salt: '',
    info: '',
    prk: '19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04',
    okm: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  },
])('$name', ({ ikm, salt, info, prk, okm }) => {
  const key = hkdfExtract('sha256', fromHex(salt), fromHex(ikm));
  expect(toHex(key)).toBe(prk);
  expect(toHex(hkdfExpand('sha256', key, fromHex(info), 42))).toBe(okm);
});

it('HKDF-Expand gives at most 255 blocks (RFC 5869 s.2.3)', async () => {
  const key = new Uint8Array(48);
  expect(hkdfExpand('sha384', key, key, 255 * 48)).toHaveLength(255 * 48);
  expect(await refusalOf(() => hkdfExpand('sha384', key, key, 255 * 48 + 1))).toBe('SIZE');
});
