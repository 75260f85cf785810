import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { decodeCmw, encodeCmw } from '#core/rats/cmw.js';
import {
  type CertTableEntry,
  encodeCertTable,
  parseCertTable,
} from '#core/snp/endorsement/cert-table.js';
import { parseSnpCollection, snpCollection } from '#core/snp/evidence.js';
import { reportLength } from '#core/snp/layout.js';
import { refusalOf } from '../../refusal.js';

const entry = fc.record({
  kind: fc.constantFrom<CertTableEntry['kind']>('VCEK', 'VLEK', 'ASK', 'ARK', 'CRL'),
  data: fc.uint8Array({ maxLength: 100 }),
});

describe('certificate table (GHCB specification, extended guest request)', () => {
  it('what is written is read again', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), (entries) => {
        expect(parseCertTable(encodeCertTable(entries))).toEqual(entries);
      }),
      { numRuns: 200 },
    );
  });

  it('an empty blob is an empty table', () => {
    expect(parseCertTable(new Uint8Array())).toEqual([]);
  });

  it('entries of unknown GUIDs are passed over', () => {
    const table = encodeCertTable([{ kind: 'ARK', data: Uint8Array.of(1) }]);
    table[0]! ^= 1;
    expect(parseCertTable(table)).toEqual([]);
  });

  it('every truncation of the index is refused; data may not lie outside', async () => {
    const table = encodeCertTable([{ kind: 'ARK', data: new Uint8Array(10) }]);
    for (let n = 1; n < table.length; n++) {
      expect(await refusalOf(() => parseCertTable(table.subarray(0, n)))).toBe('MALFORMED');
    }
    const far = table.slice();
    far.fill(0xff, 16, 24);
    expect(await refusalOf(() => parseCertTable(far))).toBe('MALFORMED');
  });

  it.each<[why: string, offset: number, length: number]>([
    ['an offset behind the end', 0x7fff_ffff, 1],
    ['an offset at the end of 32 bits', 0xffff_ffff, 1],
    ['a length behind the end', 82, 69],
    ['a length at the end of 32 bits', 82, 0xffff_ffff],
    ['offset and length that together wrap around', 0xffff_fff0, 0x20],
    ['entries over the same bytes', 0, 150],
  ])('%s is refused', async (_, offset, length) => {
    // Index of two entries and the end (72 bytes), 10 and 68 bytes of data.
    const table = encodeCertTable([
      { kind: 'ARK', data: new Uint8Array(10) },
      { kind: 'ASK', data: new Uint8Array(68) },
    ]);
    expect(await refusalOf(() => parseCertTable(table))).toBe('accepted');
    const view = new DataView(table.buffer);
    view.setUint32(24 + 16, offset, true);
    view.setUint32(24 + 20, length, true);
    expect(await refusalOf(() => parseCertTable(table))).toBe('MALFORMED');
  });

  it('a table of more than 64 KiB is refused', async () => {
    const data = new Uint8Array(64 * 1024);
    expect(await refusalOf(() => parseCertTable(encodeCertTable([{ kind: 'CRL', data }])))).toBe(
      'SIZE',
    );
  });

  it('33 entries are refused', async () => {
    const many = Array.from({ length: 33 }, () => ({
      kind: 'ARK' as const,
      data: new Uint8Array(),
    }));
    expect(await refusalOf(() => parseCertTable(encodeCertTable(many)))).toBe('SIZE');
  });

  it('random bytes give entries or a coded error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          parseCertTable(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(CvmpError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('SNP evidence in a CMW collection', () => {
  const report = new Uint8Array(reportLength);
  const table = encodeCertTable([
    { kind: 'VCEK', data: Uint8Array.of(1) },
    { kind: 'CRL', data: Uint8Array.of(2) },
  ]);

  it('report and certificate table are found again', () => {
    const collection = decodeCmw(encodeCmw(snpCollection(report, table)));
    expect(parseSnpCollection(collection)).toMatchObject({
      report: { bytes: report },
      endorsements: { certificates: [Uint8Array.of(1)], crls: [Uint8Array.of(2)] },
    });
  });

  it('a host that supplies no table leaves none', () => {
    const collection = snpCollection(report, new Uint8Array());
    expect([...collection.keys()]).toEqual(['snp']);
    expect(parseSnpCollection(collection).endorsements.certificates).toEqual([]);
  });

  it('a host may send 16 certificates and 4 lists, no more', async () => {
    const outcome = (certificates: number, lists: number) => {
      const entry = (kind: CertTableEntry['kind'], i: number) => ({ kind, data: Uint8Array.of(i) });
      const entries = [
        ...Array.from({ length: certificates }, (_, i) => entry('ASK', i)),
        ...Array.from({ length: lists }, (_, i) => entry('CRL', i)),
      ];
      return refusalOf(() => parseSnpCollection(snpCollection(report, encodeCertTable(entries))));
    };
    expect(await outcome(16, 4)).toBe('accepted');
    expect(await outcome(17, 0)).toBe('SIZE');
    expect(await outcome(0, 5)).toBe('SIZE');
  });

  it('other labels and media types are refused', async () => {
    const good = snpCollection(report, table);
    const record = good.get('snp')!;
    const extra = new Map([...good, ['tdx', record]]);
    expect(await refusalOf(() => parseSnpCollection(extra))).toBe('UNSUPPORTED_EVIDENCE');
    const typed = new Map([['snp', { ...record, mediaType: 'text/plain' }]]);
    expect(await refusalOf(() => parseSnpCollection(typed))).toBe('UNSUPPORTED_EVIDENCE');
    const short = new Map([['snp', { ...record, value: concat(report, report) }]]);
    expect(await refusalOf(() => parseSnpCollection(short))).toBe('MALFORMED');
  });
});
