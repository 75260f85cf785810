import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import type { ErrorCode } from '#core/errors.js';
import { looksLikePem, parsePem, readDerOrPem, toPem } from '#core/x509/pem.js';
import { refusalOf } from '../../refusal.js';

const block = (body: string, label = 'CERTIFICATE') =>
  `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;

describe('PEM (RFC 7468)', () => {
  it('what is written is read again, block by block', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (list) => {
        const text = list.map((bytes) => toPem('CERTIFICATE', bytes)).join('\n');
        expect(parsePem(utf8(text)).map(({ der }) => der)).toEqual(list);
      }),
      { numRuns: 100 },
    );
  });

  it.each<[why: string, text: string, code: ErrorCode]>([
    ['text before a block', `hello\n${block('AAAA')}`, 'MALFORMED'],
    ['a block that does not end', '-----BEGIN CERTIFICATE-----\nAAAA\n', 'MALFORMED'],
    ['an end of another label', '-----BEGIN A-----\nAAAA\n-----END B-----\n', 'MALFORMED'],
    ['a block in a block', `-----BEGIN A-----\n${block('AAAA')}`, 'MALFORMED'],
    ['another alphabet', block('AA-_'), 'MALFORMED'],
    ['missing padding', block('AAA'), 'MALFORMED'],
    ['unused bits that are set', block('AAB='), 'MALFORMED'],
    ['65 blocks', block('AAAA').repeat(65), 'SIZE'],
  ])('refuses %s', async (_, text, code) => {
    expect(await refusalOf(() => parsePem(utf8(text)))).toBe(code);
  });

  it('a file is DER or PEM of the label that is asked for', async () => {
    const der = Uint8Array.of(0x30, 0);
    expect(looksLikePem(der)).toBe(false);
    expect(readDerOrPem(der, 'CERTIFICATE', 'file')).toEqual([der]);
    const key = utf8(toPem('PRIVATE KEY', der));
    expect(await refusalOf(() => readDerOrPem(key, 'CERTIFICATE', 'file'))).toBe('MALFORMED');
    expect(readDerOrPem(utf8(toPem('CERTIFICATE', der)), 'CERTIFICATE', 'file')).toEqual([der]);
  });

  it('carriage returns are line ends', () => {
    expect(parsePem(utf8(block('AAAA').replaceAll('\n', '\r\n')))).toHaveLength(1);
  });
});
