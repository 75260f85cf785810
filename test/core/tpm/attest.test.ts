import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, fromHex } from '#core/bytes.js';
import { parseQuote } from '#core/tpm/attest.js';
import { isAttestationKey, parsePublicArea } from '#core/tpm/public-area.js';
import { parseTpmSignature } from '#core/tpm/signature.js';
import { pcrsAfter } from '../../fakes/event-log.js';
import { FakeTpm, u16, u32 } from '../../fakes/tpm.js';
import { refusalOf } from '../../refusal.js';

const tpm = new FakeTpm();
const pcrs = pcrsAfter([]);
const attest = tpm.attest(pcrs, { extraData: fromHex('c0ffee'), resetCount: 7 });

describe('TPMS_ATTEST of a quote (TPM 2.0 Part 2 s.10.12.8; protocol.md s.4 step 3)', () => {
  it('every field is read', () => {
    const quote = parseQuote(attest);
    expect(quote.extraData).toEqual(fromHex('c0ffee'));
    expect(quote.clockInfo).toEqual({ clock: 1000n, resetCount: 7, restartCount: 0, safe: true });
    expect(quote.selections).toEqual([{ bank: 'sha256', pcrs: [...pcrs.keys()] }]);
    expect(quote.firmwareVersion).toBe(0x20240101n);
    expect(quote.qualifiedSigner).toEqual(tpm.akName());
    expect(quote.bytes).toEqual(attest);
  });

  it('PCRs are named by the bits of the selection', () => {
    const some = new Map([...pcrs].filter(([pcr]) => [0, 7, 8, 23].includes(pcr)));
    expect(parseQuote(tpm.attest(some)).selections[0]?.pcrs).toEqual([0, 7, 8, 23]);
  });

  const one = concat(u32(1), u16(0x0b));
  const rows: [string, () => Uint8Array, string][] = [
    ['another magic', () => tpm.attest(pcrs, { magic: 0xff544348 }), 'MALFORMED'],
    ['a certification', () => tpm.attest(pcrs, { type: 0x8017 }), 'MALFORMED'],
    ['a flag that is none', () => tpm.attest(pcrs, { safe: 2 }), 'MALFORMED'],
    ['bytes behind it', () => concat(attest, Uint8Array.of(0)), 'MALFORMED'],
    [
      'an unknown bank',
      () => tpm.attest(pcrs, { selections: concat(u32(1), u16(0x12), fromHex('03000000')) }),
      'MALFORMED',
    ],
    [
      'one bank twice',
      () =>
        tpm.attest(pcrs, {
          selections: concat(u32(2), u16(11), fromHex('0101'), u16(11), fromHex('0102')),
        }),
      'MALFORMED',
    ],
    [
      'PCR 24',
      () => tpm.attest(pcrs, { selections: concat(one, fromHex('0400000001')) }),
      'MALFORMED',
    ],
    ['nine banks', () => tpm.attest(pcrs, { selections: u32(9) }), 'SIZE'],
    ['more than 1 KiB', () => tpm.attest(pcrs, { extraData: new Uint8Array(1024) }), 'SIZE'],
  ];
  it.each(rows)('%s is refused', async (_, make, code) => {
    expect(await refusalOf(() => parseQuote(make()))).toBe(code);
  });

  it('every truncation is refused', async () => {
    for (let length = 0; length < attest.length; length++) {
      expect(await refusalOf(() => parseQuote(attest.slice(0, length)))).toBe('MALFORMED');
    }
  });

  it('any bytes give a coded error or a quote, never a crash', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: attest.length - 9 }),
        fc.uint8Array({ maxLength: 8 }),
        async (at, bytes) => {
          const changed = attest.slice();
          changed.set(bytes, at);
          expect(await refusalOf(() => parseQuote(changed))).not.toBe('');
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('TPMT_SIGNATURE (TPM 2.0 Part 2 s.11.3.4)', () => {
  it.each([
    ['P-256', 'ES256', 64],
    ['P-384', 'ES384', 96],
    ['rsa', 'RS256', 256],
  ] as const)('of a key of kind %s is %s of %i bytes', (kind, algorithm, length) => {
    const parsed = parseTpmSignature(new FakeTpm(kind).sign(attest));
    expect([parsed.algorithm, parsed.bytes.length]).toEqual([algorithm, length]);
  });

  it('short scalars are padded', () => {
    const parsed = parseTpmSignature(fromHex('0018000b0001010002ffff'));
    expect(parsed.bytes).toEqual(
      concat(new Uint8Array(31), fromHex('01'), new Uint8Array(30), fromHex('ffff')),
    );
  });

  const rows: [string, string, string][] = [
    ['SHA-1', '0014000400020102', 'UNSUPPORTED_SIGNATURE_ALGO'],
    ['HMAC', '0005000b00020102', 'UNSUPPORTED_SIGNATURE_ALGO'],
    ['no signature', '0010', 'MALFORMED'],
    ['a scalar of 33 bytes', `0018000b0021${'01'.repeat(33)}000101`, 'MALFORMED'],
    ['bytes behind it', '0014000b0002010203', 'MALFORMED'],
    ['a length beyond the end', '0014000b00030102', 'MALFORMED'],
  ];
  it.each(rows)('%s is refused', async (_, hex, code) => {
    expect(await refusalOf(() => parseTpmSignature(fromHex(hex)))).toBe(code);
  });
});

describe('TPMT_PUBLIC (TPM 2.0 Part 2 s.12.2.4)', () => {
  it.each(['rsa', 'P-256', 'P-384'] as const)('key and name of kind %s', (kind) => {
    const made = new FakeTpm(kind);
    const area = parsePublicArea(made.akPublic());
    expect(area.spki).toEqual(made.akSpki);
    expect(area.name).toEqual(made.akName());
    expect(isAttestationKey(area)).toBe(true);
  });

  const attributes: [string, number][] = [
    ['not restricted', 0x00040072],
    ['not for signing', 0x00010072],
    ['for decryption too', 0x00070072],
    ['that may leave its TPM', 0x00050070],
    ['that came from outside', 0x00050052],
  ];
  it.each(attributes)('a key %s is no AK', (_, value) => {
    expect(isAttestationKey(parsePublicArea(tpm.akPublic(value)))).toBe(false);
  });

  it('every truncation is refused, and bytes behind it', async () => {
    const area = tpm.akPublic();
    for (let length = 0; length < area.length; length++) {
      expect(await refusalOf(() => parsePublicArea(area.slice(0, length)))).not.toBe('accepted');
    }
    expect(await refusalOf(() => parsePublicArea(concat(area, area)))).toBe('MALFORMED');
  });

  const changes: [string, number, number[], string][] = [
    ['of another type', 0, [0, 8], 'UNSUPPORTED_ALGORITHM'],
    ['named by SHA-1', 2, [0, 4], 'UNSUPPORTED_ALGORITHM'],
    ['on another curve', 16, [0, 5], 'UNSUPPORTED_ALGORITHM'],
    ['with a coordinate that is too long', 20, [0, 33], 'MALFORMED'],
  ];
  it('an RSA key that can be factored is refused', async () => {
    const rsa = (bytes: number) => {
      const head = fromHex('0001000b00050072000000100014000b');
      const size = Uint8Array.of(bytes >> 5, (8 * bytes) & 0xff, 0, 0, 0, 0, bytes >> 8, bytes);
      return concat(head, size, new Uint8Array(bytes).fill(0xff));
    };
    expect(await refusalOf(() => parsePublicArea(rsa(256)))).toBe('accepted');
    expect(await refusalOf(() => parsePublicArea(rsa(128)))).toBe('UNSUPPORTED_ALGORITHM');
  });

  it.each(changes)('an object %s is refused', async (_, at, bytes, code) => {
    const area = concat(tpm.akPublic(), new Uint8Array(8));
    area.set(bytes, at);
    expect(await refusalOf(() => parsePublicArea(area))).toBe(code);
  });
});
