import { ByteReader } from '../../bytes.js';
import { footerNumber, malformedFirmware, readFooterTable } from '../../firmware/footer-table.js';
import { guidBytes } from '../../guid.js';

/** The firmware ends at this address: the top of the 32-bit space. */
export const firmwareEnd = 0x1_0000_0000;
export const pageLength = 0x1000;

/** Entries of the OVMF footer table that CVMP reads (OvmfPkg ResetVector). */
export const footerGuid = {
  sevHashTable: guidBytes('7255371f-3a3b-4b04-927b-1da6efa8d454'),
  sevEsReset: guidBytes('00f771de-1a7e-4fcb-890e-68c77e2fb44e'),
  sevMetadata: guidBytes('dc886566-984a-4798-a75e-5585a7bf67cc'),
  /** Of an SVSM image (Coconut): where it starts. */
  svsmInfo: guidBytes('a789a612-0597-4c4b-a49f-cbb1fe9d1ddd'),
} as const;

/** Types of SEV metadata sections (OvmfPkg AmdSev). */
export const sectionType = {
  secMem: 1,
  secrets: 2,
  cpuid: 3,
  svsmCaa: 4,
  kernelHashes: 0x10,
} as const;

/** A range that the hypervisor prepares before launch. */
export interface MetadataSection {
  readonly gpa: number;
  readonly size: number;
  readonly type: number;
}

/** What a firmware or SVSM image says about its launch. */
export interface Firmware {
  /** Address of its first byte. */
  readonly gpa: number;
  readonly bytes: Uint8Array;
  readonly sections: readonly MetadataSection[];
  /** Where the hypervisor puts the hashes of kernel, initrd and command line. */
  readonly hashTableGpa: number | undefined;
  /** First instruction of the application processors. */
  readonly apEip: number | undefined;
  /** First instruction of an SVSM, from its first byte. */
  readonly svsmEntry: number | undefined;
}

export const metadataSignature = 0x56455341; // "ASEV", little-endian
export const metadataVersion = 1;
const sectionsMax = 64;

/**
 * Reads the footer table of an OVMF image (or of its last pages: addresses count from the end), or
 * of an SVSM image.
 * @param bytes whole pages
 * @param end address of the first byte after it
 * @throws CvmpError MALFORMED
 */
export function parseFirmware(bytes: Uint8Array, end = firmwareEnd): Firmware {
  if (bytes.length === 0 || bytes.length % pageLength !== 0 || bytes.length > end) {
    throw malformedFirmware(`has ${bytes.length} bytes, not whole pages below ${end}`);
  }
  const table = readFooterTable(bytes);
  const metadata = footerNumber(table, footerGuid.sevMetadata, 'SEV metadata offset');
  const hashTableGpa = footerNumber(table, footerGuid.sevHashTable, 'SEV hash table');
  return {
    gpa: end - bytes.length,
    bytes,
    sections: metadata === undefined ? [] : readSections(bytes, metadata),
    hashTableGpa: hashTableGpa === 0 ? undefined : hashTableGpa,
    apEip: footerNumber(table, footerGuid.sevEsReset, 'SEV-ES reset block'),
    svsmEntry: footerNumber(table, footerGuid.svsmInfo, 'SVSM information'),
  };
}

function readSections(bytes: Uint8Array, fromEnd: number): readonly MetadataSection[] {
  if (fromEnd > bytes.length) throw malformedFirmware('has SEV metadata outside of the image');
  const field = 'firmware SEV metadata';
  const reader = new ByteReader(bytes, 'little', { offset: bytes.length - fromEnd });
  if (reader.u32(field) !== metadataSignature) {
    throw malformedFirmware('has SEV metadata without signature');
  }
  reader.u32(field);
  if (reader.u32(field) !== metadataVersion) {
    throw malformedFirmware('has SEV metadata of another version');
  }
  const count = reader.u32(field);
  if (count > sectionsMax) throw malformedFirmware(`has ${count} SEV metadata sections`);
  return Array.from({ length: count }, () => readSection(reader, field));
}

/** A section that lies in the 32-bit space, as every real one does: sizes bound the work. */
function readSection(reader: ByteReader, field: string): MetadataSection {
  const gpa = reader.u32(field);
  const size = reader.u32(field);
  const type = reader.u32(field);
  if (gpa % pageLength !== 0 || size % pageLength !== 0 || size > sectionMax) {
    throw malformedFirmware(`has a SEV metadata section of ${size} bytes at ${gpa}`);
  }
  return { gpa, size, type };
}

/** Real sections have some hundred kB. */
const sectionMax = 16 * 1024 * 1024;
