import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DerReader, oneElement, readDer } from '#core/asn1/read.js';
import { tag } from '#core/asn1/tags.js';
import * as read from '#core/asn1/values.js';
import * as write from '#core/asn1/write.js';
import { fromHex } from '#core/bytes.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { refusalOf } from '../../refusal.js';

const element = (hex: string) => oneElement(fromHex(hex.replaceAll(' ', '')), 'value');

describe('DER structure (X.690 s.8.1, s.10)', () => {
  it.each<[why: string, hex: string, code: ErrorCode]>([
    ['nothing', '', 'MALFORMED'],
    ['no length', '30', 'MALFORMED'],
    ['a length beyond the end', '3002 02', 'MALFORMED'],
    ['bytes after the end', '3000 00', 'MALFORMED'],
    ['a high tag number', '1f8101 00', 'MALFORMED'],
    ['an indefinite length', '3080 0000', 'NOT_CANONICAL'],
    ['a long form for a short length', '308100', 'NOT_CANONICAL'],
    ['a padded length', `30820080${'00'.repeat(128)}`, 'NOT_CANONICAL'],
    ['a length of five bytes', '30850000000001 00', 'SIZE'],
    ['a length that is cut off', '3082 01', 'MALFORMED'],
    ['a length of 4 GiB', '3084ffffffff', 'MALFORMED'],
  ])('refuses %s', async (_, hex, code) => {
    expect(await refusalOf(() => element(hex))).toBe(code);
  });

  it('names the element that offends', () => {
    const bytes = fromHex('3003020100');
    const wrong = () =>
      readDer(bytes, 'Thing', (r) => read.boolean(r.element(tag.boolean, 'flag')));
    expect(wrong).toThrow('Thing.flag is integer, not boolean');
    const missing = () => readDer(fromHex('3000'), 'Thing', (r) => r.sequence('inner'));
    expect(missing).toThrow('Thing.inner is missing');
    const extra = () => readDer(bytes, 'Thing', () => undefined);
    expect(extra).toThrow('Thing has 3 bytes that do not belong there');
  });

  it('refuses nesting beyond 16', async () => {
    let nested = write.sequence();
    for (let i = 0; i < 20; i++) nested = write.sequence(nested);
    const walk = (reader: DerReader): void => {
      if (!reader.done) walk(reader.sequence('x'));
    };
    expect(await refusalOf(() => walk(new DerReader(nested, 'deep')))).toBe('SIZE');
  });

  it('refuses more than 1 MiB', async () => {
    expect(await refusalOf(() => oneElement(new Uint8Array((1 << 20) + 1), 'big'))).toBe('SIZE');
  });
});

describe('DER values (X.690 s.8.2 to s.8.23, s.11)', () => {
  type Row = [why: string, hex: string, read: (e: ReturnType<typeof element>) => unknown];
  const malformed: Row[] = [
    ['INTEGER: empty', '0200', read.integerBytes],
    ['INTEGER: negative where none may be', '0201ff', read.unsignedBytes],
    ['BOOLEAN: of two bytes', '0102ffff', read.boolean],
    ['NULL: with contents', '050100', read.nullValue],
    ['BIT STRING: without its first byte', '0300', read.bitString],
    ['BIT STRING: 8 unused bits', '030208ff', read.bitString],
    ['BIT STRING: unused bits of nothing', '030101', read.bitString],
    ['BIT STRING: of bits where bytes are asked', '030204f0', read.bitStringBytes],
    ['OID: empty', '0600', read.oid],
    ['OID: cut off', '060186', read.oid],
    ['PrintableString: other characters', '130140', read.text],
    ['IA5String: not ASCII', '1601e4', read.text],
    ['UTF8String: not UTF-8', '0c01ff', read.text],
    ['UTF8String: a NUL', '0c03610062', read.text],
    ['a string that is an INTEGER', '020141', read.text],
    ['UTCTime: without seconds', '170b323330313031303030305a', read.time],
    ['UTCTime: 30 February', '170d3233303233303030303030305a', read.time],
    ['UTCTime: hour 24', '170d3233303130313234303030305a', read.time],
    ['UTCTime: with an offset', '17113233303130313030303030302b30313030', read.time],
    ['GeneralizedTime: with a fraction', '181132303233303130313030303030302e355a', read.time],
  ];
  it.each(malformed)('refuses %s', async (_, hex, reader) => {
    expect(await refusalOf(() => reader(element(hex)))).toBe('MALFORMED');
  });

  const notCanonical: Row[] = [
    ['INTEGER: a padded positive', '02020001', read.integerBytes],
    ['INTEGER: a padded negative', '0202ff80', read.integerBytes],
    ['BOOLEAN: neither 00 nor FF', '010101', read.boolean],
    ['BIT STRING: unused bits that are set', '030204ff', read.bitString],
    ['OID: a padded arc', '0603 2a8001', read.oid],
  ];
  it.each(notCanonical)('refuses %s', async (_, hex, reader) => {
    expect(await refusalOf(() => reader(element(hex)))).toBe('NOT_CANONICAL');
  });

  it('refuses numbers beyond their limit', async () => {
    expect(await refusalOf(() => read.unsignedInteger(element('02020100'), 255))).toBe('SIZE');
    expect(
      await refusalOf(() =>
        read.unsignedInteger(element('0207ffffffffffffff'.replace('ff', '7f')), 255),
      ),
    ).toBe('SIZE');
    expect(await refusalOf(() => read.oid(element('0609 2affffffffffffff7f')))).toBe('SIZE');
  });

  it('reads the examples of X.690 and RFC 5280', () => {
    expect(read.oid(element('0603883703'))).toBe('2.999.3');
    expect(read.oid(element('06062a864886f70d'))).toBe('1.2.840.113549');
    expect(read.time(element('170d3439313233313233353935395a'))).toBe(
      Date.UTC(2049, 11, 31, 23, 59, 59),
    );
    expect(read.time(element('170d3530303130313030303030305a'))).toBe(Date.UTC(1950, 0, 1));
    expect(read.time(element('180f32303530303130313030303030305a'))).toBe(Date.UTC(2050, 0, 1));
  });
});

describe('writer and reader', () => {
  const back = <T>(bytes: Uint8Array, reader: (e: ReturnType<typeof oneElement>) => T): T =>
    reader(oneElement(bytes, 'value'));

  it('agree on every value', () => {
    fc.assert(
      fc.property(
        fc.nat(2 ** 31 - 1),
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.array(fc.nat(2 ** 31 - 1), { maxLength: 8 }),
        fc.integer({ min: 0, max: Date.UTC(2200, 0, 1) / 1000 }),
        fc.boolean(),
        (n, bytes, arcs, seconds, flag) => {
          expect(back(write.integer(n), (e) => read.unsignedInteger(e, 2 ** 31))).toBe(n);
          const magnitude = bytes.subarray(bytes.findIndex((octet) => octet !== 0));
          if (magnitude.length > 0 && magnitude[0] !== 0) {
            expect(back(write.integer(bytes), read.unsignedBytes)).toEqual(magnitude);
          }
          expect(back(write.octetString(bytes), read.octetString)).toEqual(bytes);
          expect(back(write.bitString(bytes), read.bitStringBytes)).toEqual(bytes);
          const dotted = ['1.2', ...arcs].join('.');
          expect(back(write.oid(dotted), read.oid)).toBe(dotted);
          expect(back(write.time(seconds * 1000), read.time)).toBe(seconds * 1000);
          expect(back(write.boolean(flag), read.boolean)).toBe(flag);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('random bytes give a value or a coded error, never a crash', () => {
    const walk = (reader: DerReader): void => {
      while (!reader.done) {
        const found = reader.any('x');
        if ((found.tag & 0x20) !== 0) walk(reader.reader(found));
        for (const one of [read.oid, read.time, read.text, read.bitString, read.integerBytes]) {
          try {
            one(found);
          } catch (error) {
            expect(error).toBeInstanceOf(CvmpError);
          }
        }
      }
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          walk(new DerReader(bytes, 'random'));
        } catch (error) {
          expect(error).toBeInstanceOf(CvmpError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('a SET OF is written in the order that DER asks', () => {
    const [a, b] = [write.integer(2), write.integer(1)];
    expect(write.setOf(a, b)).toEqual(write.setOf(b, a));
  });
});
