import { describe, expect, test } from 'vitest';
import { EndorsementFolder } from '#server/key-server/endorsements/folder.js';
import { nameOf } from '#server/key-server/endorsements/statements.js';
import { endorsementsOf, FakeVendors, outcome, startTime } from './vendors.js';

describe('the folder is bounded', () => {
  test('certificates of chips that were got longest ago go first, and nothing else', async () => {
    const vendors = await FakeVendors.start();
    const open = await endorsementsOf(vendors);
    await outcome(open, vendors.crl);
    const body = new Uint8Array(100_000);
    const nameOfChip = (i: number) =>
      `amd/vcek/Genoa/${String(i).padStart(16, '0')}/bl1-tee0-snp1-ucode1.der`;
    const limits = { bytesMax: 1_000_000, documentBytesMax: 1_000_000 };
    const folder = new EndorsementFolder(open.path, limits);
    for (let i = 0; i < 25; i++) {
      await folder.write(nameOfChip(i), { body, chain: undefined }, startTime + i);
    }
    const left = await folder.list();
    expect(left.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(1_000_000);
    const names = left.map(({ name }) => name);
    expect(names).toContain(nameOf(vendors.crl));
    expect(names).toContain(nameOfChip(24));
    expect(names).not.toContain(nameOfChip(0));
  });
});
