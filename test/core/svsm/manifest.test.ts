import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, fromHex, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { guidBytes, guidText } from '#core/guid.js';
import {
  encodeServicesManifest,
  isServicesManifest,
  parseServicesManifest,
  vtpmServiceGuid,
} from '#core/svsm/manifest.js';
import { endorsementKeyOf, parseVtpmManifest } from '#core/svsm/vtpm.js';
import { FakeEk, FakeTpm, tpm2b, u16, u32 } from '../../fakes/tpm.js';
import { refusalOf } from '../../refusal.js';

const other = '0123abcd-4567-89ef-0123-456789abcdef';
const good = encodeServicesManifest([
  { guid: vtpmServiceGuid, manifest: Uint8Array.of(1, 2, 3) },
  { guid: other, manifest: new Uint8Array() },
]);
const parse = (bytes: Uint8Array) => refusalOf(async () => parseServicesManifest(bytes));

/** `good` with a u32 replaced. */
function withU32(offset: number, value: number): Uint8Array {
  const bytes = good.slice();
  new DataView(bytes.buffer).setUint32(offset, value, true);
  return bytes;
}

describe('services manifest (SVSM specification s.7.1, table 12)', () => {
  it('has the layout that SVSMs write: GUIDs mixed-endian, integers little-endian', () => {
    expect(toHex(good)).toBe(
      [
        'bb9e8463923d7046a1ff58f9c94b87bb',
        '4b000000',
        '02000000',
        'ebf176c42301a5459641b4e7dde5bfe3',
        '48000000',
        '03000000',
        'cdab23016745ef890123456789abcdef',
        '4b000000',
        '00000000',
        '010203',
      ].join(''),
    );
    expect(parseServicesManifest(good)).toEqual([
      { guid: vtpmServiceGuid, manifest: Uint8Array.of(1, 2, 3) },
      { guid: other, manifest: new Uint8Array() },
    ]);
  });

  it('a manifest without services is one', () => {
    expect(parseServicesManifest(encodeServicesManifest([]))).toEqual([]);
  });

  it.each([
    ['another GUID', concat(guidBytes(other), good.subarray(16)), 'MALFORMED'],
    ['a longer length', withU32(16, good.length + 1), 'MALFORMED'],
    ['bytes behind the end', concat(good, Uint8Array.of(0)), 'MALFORMED'],
    ['more services than are there', withU32(20, 3), 'MALFORMED'],
    ['65 services', withU32(20, 65), 'SIZE'],
    ['4294967295 services', withU32(20, 0xffff_ffff), 'SIZE'],
    ['data in the table', withU32(24 + 16, 24), 'MALFORMED'],
    ['data behind the end', withU32(24 + 16, good.length + 1), 'MALFORMED'],
    ['data that ends behind the end', withU32(24 + 20, 4), 'MALFORMED'],
    ['data whose end overflows', withU32(24 + 20, 0xffff_ffff), 'MALFORMED'],
    [
      'one service twice',
      encodeServicesManifest([
        { guid: other, manifest: new Uint8Array() },
        { guid: other, manifest: new Uint8Array() },
      ]),
      'MALFORMED',
    ],
    ['more than 64 KiB', new Uint8Array(65537), 'SIZE'],
  ] as const)('%s is refused', async (_, bytes, code) => {
    expect(await parse(bytes)).toBe(code);
  });

  it('no truncation is accepted, and none crashes', async () => {
    for (let length = 0; length < good.length; length++) {
      expect(await parse(good.subarray(0, length))).toBe('MALFORMED');
    }
  });

  it('any bytes give a value or a coded error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (noise, at) => {
        const bytes = good.slice();
        bytes.set(noise.subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length));
        try {
          parseServicesManifest(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(CvmpError);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('GUIDs go to text and back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        expect(guidBytes(guidText(bytes))).toEqual(bytes);
      }),
      { numRuns: 100 },
    );
  });
});

describe('manifest of the vTPM service (SVSM specification s.8.3.1)', () => {
  const [ek, ak] = [new FakeEk('rsa'), new FakeTpm('P-256')];
  const version1 = (count: number, ...keys: Uint8Array[]) =>
    concat(u32(1), u32(count), ...keys.map(tpm2b));

  it('version 0 is the TPMT_PUBLIC of the EK', () => {
    const manifest = parseVtpmManifest(ek.publicArea());
    expect(manifest).toMatchObject({ version: 0, keys: [{ spki: ek.spki }] });
    expect(endorsementKeyOf(manifest)).toEqual({
      spki: ek.spki,
      publicKey: { kind: 'rsa', modulusBits: 2048 },
    });
  });

  it('version 1 holds any number of keys', () => {
    const manifest = parseVtpmManifest(version1(2, ek.publicArea(), ak.akPublic()));
    expect(manifest).toMatchObject({
      version: 1,
      keys: [{ spki: ek.spki }, { spki: ak.akSpki }],
    });
    expect(endorsementKeyOf(manifest)).toBeUndefined();
  });

  it.each([
    ['nothing', new Uint8Array(), 'MALFORMED'],
    ['version 2', concat(u32(2), u32(0)), 'UNSUPPORTED_VERSION'],
    ['fewer keys than said', version1(2, ak.akPublic()), 'MALFORMED'],
    ['more keys than said', version1(1, ek.publicArea(), ak.akPublic()), 'MALFORMED'],
    ['4294967295 keys', version1(0xffff_ffff), 'SIZE'],
    ['a key that is cut off', concat(u32(1), u32(1), u16(500), ak.akPublic()), 'MALFORMED'],
    ['bytes behind the EK', concat(ek.publicArea(), Uint8Array.of(0)), 'MALFORMED'],
    ['an object that is no key', fromHex('0008000b00000000'), 'MALFORMED'],
  ] as const)('%s is refused', async (_, bytes, code) => {
    expect(await refusalOf(async () => parseVtpmManifest(bytes))).toBe(code);
  });

  it('a services manifest is told from a manifest of one service', () => {
    expect(isServicesManifest(good)).toBe(true);
    expect(isServicesManifest(ek.publicArea())).toBe(false);
    expect(isServicesManifest(new Uint8Array(3))).toBe(false);
  });
});
