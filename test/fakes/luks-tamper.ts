import { createHash } from 'node:crypto';

const copyBytes = 16 * 1024;
const binaryBytes = 4096;
const checksumOffset = 0x1c0;

/**
 * What a provider can do to a disk: changes the JSON of both metadata copies of a LUKS2 header and
 * makes their checksums right again (LUKS2 On-Disk Format Specification 1.1.3, s.2.1). Nothing in
 * a LUKS2 header is authenticated.
 */
export function tamperLuks(disk: Uint8Array, change: (json: string) => string): void {
  for (const offset of [0, copyBytes]) {
    const copy = Buffer.from(disk.buffer, disk.byteOffset + offset, copyBytes);
    const area = copy.subarray(binaryBytes);
    const json = area.toString('latin1').replace(/\0+$/, '');
    const changed = change(json);
    if (changed === json) throw new Error('the change fits nothing in the header');
    area.fill(0);
    area.write(changed, 'latin1');
    copy.fill(0, checksumOffset, checksumOffset + 64);
    copy.set(createHash('sha256').update(copy).digest(), checksumOffset);
  }
}
