import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '#core/bytes.js';
import { type DecodeOptions, decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import { type CvmpError, isErrorCode } from '#core/errors.js';

const refusal = (bytes: Uint8Array, options?: DecodeOptions): string => {
  try {
    decode(bytes, options);
  } catch (error) {
    return (error as CvmpError).code ?? String(error);
  }
  return 'accepted';
};

describe('decode and encode agree with RFC 8949 appendix A', () => {
  const rows: [string, CborValue][] = [
    ['00', 0],
    ['17', 23],
    ['1818', 24],
    ['18ff', 255],
    ['190100', 256],
    ['1903e8', 1000],
    ['1a000f4240', 1000000],
    ['1affffffff', 4294967295],
    ['1b0000000100000000', 4294967296],
    ['1b000000e8d4a51000', 1000000000000],
    ['1b001fffffffffffff', Number.MAX_SAFE_INTEGER],
    ['1b0020000000000000', 2n ** 53n],
    ['1bffffffffffffffff', 18446744073709551615n],
    ['20', -1],
    ['3863', -100],
    ['3903e7', -1000],
    ['3affffffff', -4294967296],
    ['3b001ffffffffffffe', -Number.MAX_SAFE_INTEGER],
    ['3b0020000000000000', -(2n ** 53n) - 1n],
    ['3bffffffffffffffff', -18446744073709551616n],
    ['f4', false],
    ['f5', true],
    ['f6', null],
    ['40', new Uint8Array()],
    ['4401020304', fromHex('01020304')],
    ['60', ''],
    ['6161', 'a'],
    ['62c3bc', 'ü'],
    ['63e6b0b4', '水'],
    ['64f0908591', '\u{10151}'],
    ['80', []],
    ['8301820203820405', [1, [2, 3], [4, 5]]],
    ['a0', new Map()],
    [
      'a201020304',
      new Map([
        [1, 2],
        [3, 4],
      ]),
    ],
    [
      'a26161016162820203',
      new Map<string, CborValue>([
        ['a', 1],
        ['b', [2, 3]],
      ]),
    ],
    ['d08143010203', new Tag(16, [fromHex('010203')])],
  ];
  it.each(rows)('%s', (hex, value) => {
    expect(toHex(encode(value))).toBe(hex);
    expect(decode(fromHex(hex), { tags: [16] })).toEqual(value);
  });
});

describe('what a decoder of CVMP never admits (protocol.md s.0.3)', () => {
  const always: [string, string, string][] = [
    ['nothing', '', 'MALFORMED'],
    ['trailing bytes', '0000', 'MALFORMED'],
    ['a half float', 'f93c00', 'MALFORMED'],
    ['a float', 'fa3f800000', 'MALFORMED'],
    ['a double', 'fb3ff0000000000000', 'MALFORMED'],
    ['undefined', 'f7', 'MALFORMED'],
    ['a simple value', 'f0', 'MALFORMED'],
    ['a two-byte simple value', 'f8ff', 'MALFORMED'],
    ['a break outside', 'ff', 'MALFORMED'],
    ['reserved additional information', '1c', 'MALFORMED'],
    ['a truncated integer', '19ff', 'MALFORMED'],
    ['a truncated byte string', '4401', 'MALFORMED'],
    ['a byte string of 2^64-1 bytes', '5bffffffffffffffff', 'MALFORMED'],
    ['an array of 2^32-1 elements', '9affffffff', 'MALFORMED'],
    ['a map of 2^32-1 entries', 'baffffffff', 'MALFORMED'],
    ['an odd map', 'a101', 'MALFORMED'],
    ['duplicate keys', 'a201000100', 'MALFORMED'],
    ['duplicate text keys', 'a2616100616100', 'MALFORMED'],
    ['a byte string as key', 'a1410000', 'MALFORMED'],
    ['an array as key', 'a18000', 'MALFORMED'],
    ['text that is not UTF-8', '62c328', 'MALFORMED'],
    ['overlong UTF-8', '62c080', 'MALFORMED'],
    ['a surrogate in UTF-8', '63eda080', 'MALFORMED'],
    ['a byte order mark', '64efbbbf61', 'MALFORMED'],
    ['a bignum', 'c249010000000000000000', 'MALFORMED'],
    ['a date', 'c11a514b67b0', 'MALFORMED'],
    ['a shared reference', 'd81c80', 'MALFORMED'],
    ['an unlisted tag', 'd28440a0f640', 'MALFORMED'],
    ['an indefinite byte string', '5f4100ff', 'NOT_CANONICAL'],
    ['an indefinite text', '7f6161ff', 'NOT_CANONICAL'],
    ['17 arrays inside each other', `${'81'.repeat(17)}00`, 'SIZE'],
  ];
  it.each(always)('%s', (_, hex, code) => {
    expect(refusal(fromHex(hex))).toBe(code);
    expect(refusal(fromHex(hex), { canonical: false })).toBe(code);
  });

  const unlessForeign: [string, string, CborValue][] = [
    ['a long head', '1817', 23],
    ['a long 16-bit head', '1900ff', 255],
    ['a long 32-bit head', '1a0000ffff', 65535],
    ['a long 64-bit head', '1b00000000ffffffff', 4294967295],
    ['a long negative head', '3b00000000ffffffff', -4294967296],
    ['a long string head', '580161', fromHex('61')],
    ['an indefinite array', '9f01ff', [1]],
    ['an indefinite map', 'bf0102ff', new Map([[1, 2]])],
    [
      'unsorted keys',
      'a203040102',
      new Map([
        [3, 4],
        [1, 2],
      ]),
    ],
  ];
  it.each(unlessForeign)('%s, unless the evidence is foreign', (_, hex, value) => {
    expect(refusal(fromHex(hex))).toBe('NOT_CANONICAL');
    expect(decode(fromHex(hex), { canonical: false })).toEqual(value);
  });

  it('sees one key through its encodings where they are not canonical', () => {
    for (const hex of [
      'a20100180100',
      'a201001b000000000000000100',
      'a22000380000',
      'a261610078016100',
      'bf616100780161f6ff',
    ]) {
      expect(refusal(fromHex(hex), { canonical: false })).toBe('MALFORMED');
    }
  });

  it('more bytes than the limit', () => {
    expect(refusal(encode(new Uint8Array(100)), { maxBytes: 64 })).toBe('SIZE');
  });

  it('a tag that the decoder would interpret, even if a caller lists it', () => {
    expect(() => decode(fromHex('c240'), { tags: [2] })).toThrow(TypeError);
  });

  it('names the field that it decodes', () => {
    expect(() => decode(fromHex('ff'), { field: 'config_document' })).toThrow(/^config_document: /);
  });
});

describe('the encoder', () => {
  it('sorts keys bytewise by their encodings (RFC 8949 s.4.2.1)', () => {
    const keys = [10, 100, -1, 'z', 'aa'] as const;
    const map = new Map([...keys].reverse().map((key) => [key, 0] as const));
    expect(toHex(encode(map))).toBe('a50a001864002000617a0062616100');
  });

  it.each<[string, unknown]>([
    ['a fraction', 1.5],
    ['an unsafe number', 2 ** 53],
    ['NaN', Number.NaN],
    ['more than 64 bits', 2n ** 64n],
    ['undefined', undefined],
    ['a plain object', {}],
    ['a lone surrogate', '\ud800'],
    ['a byte order mark', '\ufeffa'],
    [
      'one key as number and bigint',
      new Map<number | bigint, number>([
        [1, 0],
        [1n, 0],
      ]),
    ],
  ])('refuses %s', (_, value) => {
    expect(() => encode(value as CborValue)).toThrow(TypeError);
  });
});

const key = fc.oneof(
  fc.maxSafeInteger(),
  fc.string({ unit: 'binary', maxLength: 40 }).filter((t) => !t.startsWith('\ufeff')),
);
const integer = fc
  .bigInt({ min: -(2n ** 64n), max: 2n ** 64n - 1n })
  .map((n) => (Number.isSafeInteger(Number(n)) ? Number(n) : n));
const value = fc.letrec<{ any: CborValue }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', maxDepth: 5 },
    fc.maxSafeInteger(),
    integer,
    fc.boolean(),
    fc.constant(null),
    fc.string({ unit: 'binary', maxLength: 200 }).filter((t) => !t.startsWith('\ufeff')),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('any'), { maxLength: 6 }),
    fc.array(fc.tuple(key, tie('any')), { maxLength: 6 }).map((e) => new Map(e)),
    tie('any').map((v) => new Tag(61, v)),
  ),
})).any;

describe('properties', () => {
  it('decode(encode(x)) = x, and encode gives the same bytes again', () => {
    fc.assert(
      fc.property(value, (x) => {
        const bytes = encode(x);
        const back = decode(bytes, { tags: [61] });
        expect(back).toEqual(x);
        expect(encode(back)).toEqual(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it('what is accepted as canonical is its own encoding; all else is a coded error', () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 1, max: 255 }), (x, at, change) => {
        const bytes = encode(x);
        bytes[at % bytes.length]! ^= change;
        const code = refusal(bytes, { tags: [61] });
        if (code === 'accepted') expect(encode(decode(bytes, { tags: [61] }))).toEqual(bytes);
        else expect(isErrorCode(code)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('random bytes never crash either mode', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, canonical) => {
        const code = refusal(bytes, { canonical, tags: [61] });
        expect(code === 'accepted' || isErrorCode(code)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it('every truncation is refused', () => {
    fc.assert(
      fc.property(value, (x) => {
        const bytes = encode(x);
        for (let n = 0; n < bytes.length; n++) {
          expect(refusal(bytes.subarray(0, n), { tags: [61] })).not.toBe('accepted');
        }
      }),
      { numRuns: 100 },
    );
  });
});

it('decoded byte strings do not alias the input', () => {
  const bytes = encode(new Uint8Array([1, 2, 3]));
  const back = decode(Buffer.from(bytes)) as Uint8Array;
  bytes.fill(0);
  expect(back).toEqual(new Uint8Array([1, 2, 3]));
  expect(Buffer.isBuffer(back)).toBe(false);
});
