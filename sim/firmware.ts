import { concat } from '#core/bytes.js';
import { footerTableGuid } from '#core/firmware/footer-table.js';
import {
  footerGuid,
  metadataSignature,
  metadataVersion,
  pageLength,
  sectionType,
} from '#core/snp/launch/firmware.js';

/**
 * A minimal firmware image with all that a launch measurement reads: SEV metadata, a page for kernel
 * hashes, a reset block, the footer table. It contains no code, and the same options give the same
 * bytes, so that a measurement can be predicted without any vendor's file.
 */
export interface SimulatedFirmwareOptions {
  /** Whole pages; the image ends at 4 GiB. */
  readonly pages?: number;
  /** Fills the image, so that images of different builds differ. */
  readonly build?: number;
}

/** Where the sections lie in guest memory, as OVMF's AmdSev build has them in this order. */
const sections: readonly (readonly [gpa: number, size: number, type: number])[] = [
  [0x80_0000, 0x9000, sectionType.secMem],
  [0x80_a000, 0x3000, sectionType.secMem],
  [0x80_d000, 0x1000, sectionType.secrets],
  [0x80_e000, 0x1000, sectionType.cpuid],
  [0x81_0000, 0x1000, sectionType.kernelHashes],
  [0x81_1000, 0xf000, sectionType.secMem],
];
const hashTableGpa = 0x81_0c00;
const hashTableSize = 0x400;
const apEip = 0x80_b004;

export function simulatedFirmware(options: SimulatedFirmwareOptions = {}): Uint8Array {
  return imageWithFooter(blankImage(options), [
    [footerGuid.sevMetadata, u32s(pageLength)],
    [footerGuid.sevEsReset, u32s(apEip)],
    [footerGuid.sevHashTable, u32s(hashTableGpa, hashTableSize)],
  ]);
}

/** An SVSM image in the same manner: its metadata names secrets, CPUID and its own memory. */
export function simulatedSvsm(options: SimulatedFirmwareOptions = {}): Uint8Array {
  return imageWithFooter(blankImage(options), [
    [footerGuid.sevMetadata, u32s(pageLength)],
    [footerGuid.svsmInfo, u32s(0x40)],
  ]);
}

/** An image of SEV metadata, one page before its end. */
function blankImage({ pages = 4, build = 0 }: SimulatedFirmwareOptions): Uint8Array {
  const image = new Uint8Array(pages * pageLength).fill(build & 0xff);
  const metadata = u32s(
    metadataSignature,
    16 + 12 * sections.length,
    metadataVersion,
    sections.length,
    ...sections.flat(),
  );
  image.set(metadata, image.length - pageLength);
  return image;
}

/** Puts a footer table at the end of an image; 32 bytes follow it: the reset vector. */
export function imageWithFooter(
  image: Uint8Array,
  entries: readonly (readonly [guid: Uint8Array, data: Uint8Array])[],
): Uint8Array {
  const parts = entries.map(([guid, data]) => footerEntry(guid, data));
  const table = footerEntry(footerTableGuid, concat(...parts));
  image.set(table, image.length - 32 - table.length);
  return image;
}

/** Data, then u16 length of all, then GUID: read from the end. */
function footerEntry(guid: Uint8Array, data: Uint8Array): Uint8Array {
  const length = data.length + 2 + guid.length;
  return concat(data, Uint8Array.of(length & 0xff, length >> 8), guid);
}

/** Little-endian. */
export function u32s(...values: readonly number[]): Uint8Array {
  const out = new Uint8Array(4 * values.length);
  const view = new DataView(out.buffer);
  for (const [i, value] of values.entries()) view.setUint32(4 * i, value, true);
  return out;
}
