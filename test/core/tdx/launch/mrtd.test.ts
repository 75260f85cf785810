import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, toHex, utf8 } from '#core/bytes.js';
import { type PageOrder, predictMrTd } from '#core/tdx/launch/mrtd.js';
import { lowMemory, tdHob } from '#core/tdx/launch/td-hob.js';
import { parseTdvf } from '#core/tdx/launch/tdvf.js';
import { crypto } from '#crypto';
import { simulatedTdvf } from '#sim/tdvf.js';
import { refusalAtOnce } from '../../../refusal.js';

const image = simulatedTdvf({ build: 3 });

/** MRTD as the TDX module computes it, operation by operation (Base Spec s.12.2). */
function byTheModule(firmware: Uint8Array, order: PageOrder): string {
  const stream: Uint8Array[] = [];
  const operation = (name: string, gpa: number) => {
    const record = new Uint8Array(128);
    record.set(utf8(name));
    new DataView(record.buffer).setBigUint64(16, BigInt(gpa), true);
    stream.push(record);
  };
  for (const { gpa, memoryLength, attributes, contents } of parseTdvf(firmware)) {
    const extend = (page: number) => {
      if (attributes !== 1) return;
      for (let at = page; at < page + 4096; at += 256) {
        operation('MR.EXTEND', gpa + at);
        stream.push(contents.subarray(at, at + 256));
      }
    };
    const pages = Array.from({ length: memoryLength / 4096 }, (_, i) => i * 4096);
    for (const page of pages) {
      operation('MEM.PAGE.ADD', gpa + page);
      if (order === 'page') extend(page);
    }
    if (order === 'section') for (const page of pages) extend(page);
  }
  return toHex(crypto.hash('sha384', concat(...stream)));
}

describe('MRTD of a TDVF image (TDX Module Base Spec s.12.2)', () => {
  it.each<PageOrder>(['page', 'section'])(
    'is what the operations of the launch say: %s',
    (order) => {
      expect(toHex(predictMrTd(image, order))).toBe(byTheModule(image, order));
    },
  );

  it('the boot firmware counts, the variable store does not', () => {
    const value = (options: Parameters<typeof simulatedTdvf>[0]) =>
      toHex(predictMrTd(simulatedTdvf(options)));
    expect(value({ build: 4 })).not.toBe(toHex(predictMrTd(image)));
    expect(value({ build: 3, pages: 5 })).not.toBe(toHex(predictMrTd(image)));
    expect(value({ build: 3, variables: new Uint8Array(8192).fill(9) })).toBe(
      toHex(predictMrTd(image)),
    );
  });
});

describe('TDVF descriptor (TDX Virtual Firmware Design Guide s.11)', () => {
  const metadata = image.length - 4096;
  const u32 = (offset: number, value: number) => {
    const out = image.slice();
    new DataView(out.buffer).setUint32(metadata + offset, value, true);
    return out;
  };
  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['a wrong signature', u32(0, 0)],
    ['another version', u32(8, 2)],
    ['too many sections', u32(12, 65)],
    ['contents outside of the image', u32(16, 0x7fff_0000)],
    ['more contents than memory', u32(32, 0x1000)],
    ['a page that is not whole', u32(32, 0x4001)],
    ['an address that is not a page', u32(24, 0x1234)],
    ['an address beyond all memory', u32(28, 0xffff_ffff)],
    ['memory without measure', u32(36, 1)],
    ['unknown attributes', u32(44, 4)],
    ['memory both measured and added later', u32(44, 3)],
  ])('%s is refused', (_, firmware) => {
    expect(refusalAtOnce(() => parseTdvf(firmware))).toBe('MALFORMED');
  });

  it('every truncation and every flipped byte gives a value or a coded error', () => {
    for (let length = 0; length < image.length; length += 101) {
      refusalAtOnce(() => predictMrTd(image.subarray(0, length)));
    }
    const places = fc.oneof(
      fc.integer({ min: metadata, max: metadata + 220 }),
      fc.integer({ min: image.length - 120, max: image.length - 1 }),
    );
    fc.assert(
      fc.property(places, fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = image.slice();
        changed[at]! ^= flip;
        refusalAtOnce(() => parseTdvf(changed));
      }),
      { numRuns: 400 },
    );
  });
});

const gib = 2 ** 30;

describe('TD HOB of a QEMU q35 guest', () => {
  const sections = parseTdvf(image);

  it('a TD of 64 GiB has the one that a real TD measured', () => {
    // The digest of EV_EFI_HANDOFF_TABLES2 in the published event log of a TD with OVMF's memory map.
    expect(toHex(crypto.hash('sha384', tdHob(sections, 64 * gib)))).toBe(
      '8ae1e425351df7992c444586eff99d35af3b779aa2b0e981cb4b73bc5b279f2ade19b6a62a203fc3c3bbdaae80af596d',
    );
  });

  it('memory is split at 2.75 GiB', () => {
    expect(lowMemory(2.5 * gib)).toBe(2.5 * gib);
    expect(lowMemory(2.75 * gib)).toBe(2 * gib);
    expect(tdHob(sections, 2 * gib).length + 48).toBe(tdHob(sections, 4 * gib).length);
  });

  it('too little memory, sections that overlap, and no place for it are refused', () => {
    expect(refusalAtOnce(() => tdHob(sections, 2 ** 20))).toBe('USAGE');
    const [, , first, second, ...rest] = sections;
    const over = { ...second!, gpa: first!.gpa };
    expect(refusalAtOnce(() => tdHob([first!, over, ...rest], gib))).toBe('MALFORMED');
    expect(refusalAtOnce(() => tdHob(sections.slice(0, 3), gib))).toBe('MALFORMED');
  });
});

const ovmf = '/usr/share/ovmf/OVMF.fd';
describe.skipIf(!existsSync(ovmf))("Debian's OVMF as TDVF (skipped without package ovmf)", () => {
  it('has MRTD by both orders; its half without variables is refused', () => {
    const firmware = new Uint8Array(readFileSync(ovmf));
    for (const order of ['page', 'section'] as const) {
      expect(toHex(predictMrTd(firmware, order))).toBe(byTheModule(firmware, order));
    }
    const code = new Uint8Array(readFileSync('/usr/share/OVMF/OVMF_CODE.fd'));
    expect(refusalAtOnce(() => predictMrTd(code))).toBe('MALFORMED');
  });
});
