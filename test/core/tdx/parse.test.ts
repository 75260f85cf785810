import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { concat, toHex } from '#core/bytes.js';
import { bodyLength, headerLength } from '#core/tdx/layout.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { FakeIntel } from '../../fakes/intel.js';
import { refusalOf } from '../../refusal.js';

let v4: Uint8Array;
let v5: Uint8Array;
beforeAll(async () => {
  const intel = await FakeIntel.create();
  const td = { mrServiceTd: new Uint8Array(48).fill(7), reportData: new Uint8Array(64).fill(9) };
  v4 = await intel.quote({ td });
  v5 = await intel.quote({ td, version: 5 });
});

const changed = (quote: Uint8Array, at: number, ...bytes: readonly number[]) => {
  const out = quote.slice();
  out.set(bytes, at);
  return out;
};
const refusal = (quote: Uint8Array) => refusalOf(() => parseTdxQuote(quote));

describe('TDX quote of version 4 and 5 (protocol.md s.3.1)', () => {
  it('version 4 holds a TD 1.0 report, signed with its header', () => {
    const quote = parseTdxQuote(v4);
    expect([quote.version, quote.bodyType]).toEqual([4, 'TD 1.0']);
    expect(quote.signedBytes).toEqual(v4.slice(0, headerLength + bodyLength['TD 1.0']));
    expect(toHex(quote.td.reportData)).toBe('09'.repeat(64));
    expect([quote.td.teeTcbSvn2, quote.td.mrServiceTd]).toEqual([undefined, undefined]);
    expect(quote.trailingBytes).toBe(0);
  });

  it('version 5 holds a TD 1.5 report; its descriptor is signed too', () => {
    const quote = parseTdxQuote(v5);
    expect([quote.version, quote.bodyType]).toEqual([5, 'TD 1.5']);
    expect(quote.signedBytes).toEqual(v5.slice(0, headerLength + 6 + bodyLength['TD 1.5']));
    expect(toHex(quote.td.mrServiceTd!)).toBe('07'.repeat(48));
  });

  it('bytes after the quote are counted and not read', () => {
    const quote = parseTdxQuote(concat(v4, new Uint8Array(70)));
    expect({ ...quote, trailingBytes: 0 }).toEqual(parseTdxQuote(v4));
    expect(quote.trailingBytes).toBe(70);
  });
});

describe('what is not a TDX quote is refused (protocol.md s.3.2 step 1)', () => {
  const sigLength = headerLength + bodyLength['TD 1.0'];
  const certification = sigLength + 4 + 64 + 64;
  const rows: [string, () => Uint8Array, string][] = [
    ['version 3', () => changed(v4, 0, 3), 'UNSUPPORTED_VERSION'],
    ['version 6', () => changed(v4, 0, 6), 'UNSUPPORTED_VERSION'],
    ['version 4 read as 5', () => changed(v4, 0, 5), 'MALFORMED'],
    ['attestation key of type 3 (P-384)', () => changed(v4, 2, 3), 'UNSUPPORTED_SIGNATURE_ALGO'],
    ['TEE type SGX', () => changed(v4, 4, 0), 'UNSUPPORTED_EVIDENCE'],
    ['another vendor of the Quoting Enclave', () => changed(v4, 12, 0), 'UNSUPPORTED_EVIDENCE'],
    ['body type SGX in version 5', () => changed(v5, 48, 1), 'MALFORMED'],
    ['unknown body type in version 5', () => changed(v5, 48, 4), 'MALFORMED'],
    ['body size of another type in version 5', () => changed(v5, 50, 0x48, 2), 'MALFORMED'],
    ['signature length beyond the end', () => changed(v4, sigLength + 3, 0xff), 'MALFORMED'],
    [
      'signature length too short for what it holds',
      () => changed(v4, sigLength, 1, 0),
      'MALFORMED',
    ],
    ['certification data of type 5 outside', () => changed(v4, certification, 5), 'MALFORMED'],
    ['certification size beyond the end', () => changed(v4, certification + 5, 1), 'MALFORMED'],
    ['more than 64 KiB', () => concat(v4, new Uint8Array(65536)), 'SIZE'],
  ];
  it.each(rows)('%s', async (_, make, code) => {
    expect(await refusal(make())).toBe(code);
  });

  it('every truncation', async () => {
    for (const quote of [v4, v5]) {
      for (let length = 0; length < quote.length; length++) {
        expect(await refusal(quote.slice(0, length)), `${length} bytes`).toBe('MALFORMED');
      }
    }
  });

  it('any bytes give a coded error or a quote, never a crash', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(4, 5),
        fc.nat({ max: 6000 }),
        fc.uint8Array({ maxLength: 40 }),
        async (version, at, bytes) => {
          const base = version === 4 ? v4 : v5;
          expect(await refusal(changed(base, at % (base.length - 40), ...bytes))).not.toBe('');
        },
      ),
      { numRuns: 300 },
    );
  });
});
