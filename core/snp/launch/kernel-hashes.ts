import { crypto } from '#crypto';
import { concat, utf8 } from '../../bytes.js';
import { guidBytes } from '../../guid.js';
import { pageLength } from './firmware.js';

/** What a measured direct boot starts; kernel and initrd are named by SHA-256 (32 bytes). */
export interface BootInputs {
  readonly kernelDigest: Uint8Array;
  /** SHA-256 of nothing where there is no initrd. */
  readonly initrdDigest: Uint8Array;
  readonly cmdline: string;
}

const guid = {
  table: guidBytes('9438d606-4f22-4cc9-b479-a793d411fd21'),
  cmdline: guidBytes('97d02dd8-bd20-4c94-aa78-e7714d36ab2a'),
  initrd: guidBytes('44baf731-3a2f-4bd7-9af1-41e29169781d'),
  kernel: guidBytes('4de79437-abd2-427f-b835-d5b172d2045b'),
} as const;

/** GUID and u16 length before each digest. */
const headerLength = 16 + 2;
const alignment = 16;

/**
 * The table of hashes that the hypervisor fills in and the firmware compares what it loads with, as
 * QEMU lays it out: command line (with its NUL), initrd, kernel; padded to 16 bytes.
 */
export function kernelHashTable({ kernelDigest, initrdDigest, cmdline }: BootInputs): Uint8Array {
  const cmdlineDigest = crypto.hash('sha256', utf8(`${cmdline}\0`));
  const entries = [
    entry(guid.cmdline, cmdlineDigest),
    entry(guid.initrd, initrdDigest),
    entry(guid.kernel, kernelDigest),
  ];
  const table = entry(guid.table, ...entries);
  return concat(table, new Uint8Array(-table.length & (alignment - 1)));
}

/** The page with the table at its place; everything else is zero. */
export function kernelHashPage(boot: BootInputs, hashTableGpa: number): Uint8Array {
  const page = new Uint8Array(pageLength);
  page.set(kernelHashTable(boot), hashTableGpa % pageLength);
  return page;
}

function entry(id: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array {
  const body = concat(...data);
  const length = headerLength + body.length;
  return concat(id, Uint8Array.of(length & 0xff, length >> 8), body);
}
