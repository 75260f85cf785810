import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, toHex } from '#core/bytes.js';
import { authenticodeDigest, parsePe, sectionInMemory } from '#core/firmware/pe.js';
import { crypto } from '#crypto';
import { fakePe, fakePeOffsets } from '../../fakes/pe.js';
import { refusalAtOnce } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const bytes = (length: number, fill = 7) => new Uint8Array(length).fill(fill);
const sections = [
  { name: '.text', data: bytes(1000, 1) },
  { name: '.linux', data: bytes(700, 2), virtualSize: 3000 },
];
const image = fakePe(sections);

/** Authenticode by the standard's text: all but checksum, certificate entry and certificates. */
function byTheStandard(file: Uint8Array, certificates: number): string {
  return toHex(
    crypto.hash(
      'sha256',
      file.subarray(0, fakePeOffsets.checksum),
      file.subarray(fakePeOffsets.checksum + 4, fakePeOffsets.certificateEntry),
      file.subarray(fakePeOffsets.certificateEntry + 8, file.length - certificates),
    ),
  );
}

describe('PE images (PE/COFF; Authenticode "Calculating the PE Image Hash")', () => {
  it('the digest leaves out checksum, certificate entry and certificates', () => {
    expect(toHex(authenticodeDigest(parsePe(image), 'sha256'))).toBe(byTheStandard(image, 0));
    const signed = fakePe(sections, bytes(64));
    const parsed = parsePe(signed);
    expect(toHex(authenticodeDigest(parsed, 'sha256'))).toBe(byTheStandard(signed, 64));
    expect(toHex(authenticodeDigest(parsed, 'sha256'))).toBe(byTheStandard(image, 0));
    expect(parsed.certificates).toEqual(bytes(64));
  });

  it('the order is that of the file, not of the table; what follows counts too', () => {
    const swapped = image.slice();
    const [a, b] = [fakePeOffsets.sectionTable, fakePeOffsets.sectionTable + 40];
    swapped.set(image.subarray(b, b + 40), a);
    swapped.set(image.subarray(a, a + 40), b);
    expect(toHex(authenticodeDigest(parsePe(swapped), 'sha256'))).toBe(byTheStandard(swapped, 0));
    const longer = concat(image, bytes(8));
    expect(toHex(authenticodeDigest(parsePe(longer), 'sha256'))).toBe(byTheStandard(longer, 0));
  });

  it('a section in memory is as long as it says, filled with zeros', () => {
    const [text, linux] = parsePe(image).sections;
    expect(concat(...sectionInMemory(text!))).toEqual(sections[0]!.data);
    expect(concat(...sectionInMemory(linux!))).toEqual(concat(sections[1]!.data, bytes(2300, 0)));
    expect([text!.name, linux!.name]).toEqual(['.text', '.linux']);
  });

  const u32 = (offset: number, value: number) => {
    const out = image.slice();
    new DataView(out.buffer).setUint32(offset, value, true);
    return out;
  };
  const first = fakePeOffsets.sectionTable;
  it.each<[string, Uint8Array]>([
    ['nothing', bytes(0)],
    ['no MZ', u32(0, 0)],
    ['a PE header beyond the end', u32(0x3c, 0xffff_fff0)],
    ['no PE signature', u32(0x80, 0)],
    ['another magic', u32(0x98, 0x30b)],
    ['too many sections', u32(0x84, 0x0061_8664)],
    ['headers beyond the file', u32(0x98 + 60, 0x7fff_ffff)],
    ['headers without the section table', u32(0x98 + 60, 0x100)],
    ['more directories than the header holds', u32(0x98 + 108, 17)],
    ['certificates that are not the end', u32(fakePeOffsets.certificateEntry + 4, 8)],
    ['a section in the headers', u32(first + 20, 0x10)],
    ['a section beyond the file', u32(first + 16, 0x7fff_ffff)],
    ['sections that overlap', u32(first + 60, 0x210)],
    ['an unreadable name', u32(first, 0x01010101)],
  ])('%s is refused', (_, file) => {
    expect(refusalAtOnce(() => parsePe(file))).toBe('MALFORMED');
  });

  it('memory without measure is refused', () => {
    expect(refusalAtOnce(() => parsePe(u32(first + 8, 0xffff_ffff)))).toBe('SIZE');
  });

  it('every truncation and every flipped byte is parsed or refused with a code', () => {
    for (let length = 0; length < image.length; length += 13) {
      refusalAtOnce(() => parsePe(image.subarray(0, length)));
    }
    const headers = fc.integer({ min: 0, max: fakePeOffsets.sectionTable + 80 });
    fc.assert(
      fc.property(headers, fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = image.slice();
        changed[at]! ^= flip;
        refusalAtOnce(() => authenticodeDigest(parsePe(changed), 'sha256'));
      }),
      { numRuns: 500 },
    );
  });
});

const stub = '/usr/lib/systemd/boot/efi/linuxx64.efi.stub';
const has = (program: string) => spawnSync(program, ['--help']).error === undefined;

describe.skipIf(!existsSync(stub) || !has('pesign') || !has('sbsign') || !has('openssl'))(
  'as pesign and sbsign see it (skipped without packages systemd-boot-efi, pesign, sbsigntool)',
  () => {
    const digestOf = (file: string) => {
      const out = execFileSync('pesign', ['-h', '-i', file], { stdio: ['pipe', 'pipe', 'ignore'] });
      return /hash: ([0-9a-f]{64})/.exec(out.toString())![1];
    };
    const ours = (file: string) =>
      toHex(authenticodeDigest(parsePe(new Uint8Array(readFileSync(file))), 'sha256'));

    it('systemd-stub and systemd-boot have the same digest', () => {
      const loader = stub.replace('linuxx64.efi.stub', 'systemd-bootx64.efi');
      for (const file of [stub, loader]) expect(ours(file)).toBe(digestOf(file));
    });

    it('a signed image has the same digest', () => {
      const folder = temporaryFolder('pe');
      const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
      const request = ['req', '-newkey', 'rsa:2048', '-nodes', '-x509', '-subj', '/CN=test'];
      execFileSync('openssl', [...request, '-keyout', key, '-out', certificate], {
        stdio: 'ignore',
      });
      const signed = join(folder, 'signed.efi');
      execFileSync('sbsign', ['--key', key, '--cert', certificate, '--output', signed, stub], {
        stdio: 'ignore',
      });
      expect(ours(signed)).toBe(digestOf(signed));
    });
  },
);
