import { ByteReader, equalBytes, toHex } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import { guidBytes } from './guid.js';

/** The firmware ends at this address: the top of the 32-bit space. */
export const firmwareEnd = 0x1_0000_0000;
export const pageLength = 0x1000;

/** Entries of the OVMF footer table that CVMP reads (OvmfPkg ResetVector). */
export const footerGuid = {
  table: guidBytes('96b582de-1fb2-45f7-baea-a366c55a082d'),
  sevHashTable: guidBytes('7255371f-3a3b-4b04-927b-1da6efa8d454'),
  sevEsReset: guidBytes('00f771de-1a7e-4fcb-890e-68c77e2fb44e'),
  sevMetadata: guidBytes('dc886566-984a-4798-a75e-5585a7bf67cc'),
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

/** What a firmware image says about its launch. */
export interface Firmware {
  /** Address of its first byte. */
  readonly gpa: number;
  readonly bytes: Uint8Array;
  readonly sections: readonly MetadataSection[];
  /** Where the hypervisor puts the hashes of kernel, initrd and command line. */
  readonly hashTableGpa: number | undefined;
  /** First instruction of the application processors. */
  readonly apEip: number | undefined;
}

/** u16 length, then the GUID; the data of an entry lie before its header. */
const entryHeader = 2 + 16;
/** The table ends this far from the end of the image. */
const footerFromEnd = 32;
export const metadataSignature = 0x56455341; // "ASEV", little-endian
export const metadataVersion = 1;
const sectionsMax = 64;

/**
 * Reads the footer table of an OVMF image (or of its last pages: addresses count from the end).
 * @param bytes whole pages
 * @throws CvmpError MALFORMED
 */
export function parseFirmware(bytes: Uint8Array): Firmware {
  if (bytes.length === 0 || bytes.length % pageLength !== 0) {
    throw malformed(`has ${bytes.length} bytes, not whole pages`);
  }
  const table = readFooterTable(bytes);
  const u32 = (guid: Uint8Array, name: string): number | undefined => {
    const data = table.get(toHex(guid));
    if (data === undefined) return undefined;
    return new ByteReader(data, 'little').u32(`firmware ${name}`);
  };
  const metadata = u32(footerGuid.sevMetadata, 'SEV metadata offset');
  const hashTableGpa = u32(footerGuid.sevHashTable, 'SEV hash table');
  return {
    gpa: firmwareEnd - bytes.length,
    bytes,
    sections: metadata === undefined ? [] : readSections(bytes, metadata),
    hashTableGpa: hashTableGpa === 0 ? undefined : hashTableGpa,
    apEip: u32(footerGuid.sevEsReset, 'SEV-ES reset block'),
  };
}

/** Entries by hex GUID; the table is read from its end, as its entries are. */
function readFooterTable(bytes: Uint8Array): Map<string, Uint8Array> {
  const entries = new Map<string, Uint8Array>();
  const end = bytes.length - footerFromEnd;
  const footer = readEntryHeader(bytes, end);
  if (!equalBytes(footer.guid, footerGuid.table)) throw malformed('has no footer table');
  const start = end - footer.length;
  if (start < 0) throw malformed('has a footer table that is longer than the image');
  let at = end - entryHeader;
  while (at - start >= entryHeader) {
    const { length, guid } = readEntryHeader(bytes, at);
    if (at - length < start) throw malformed('has a footer entry that is longer than its table');
    entries.set(toHex(guid), bytes.subarray(at - length, at - entryHeader));
    at -= length;
  }
  return entries;
}

/** The header of the entry that ends at `end`. */
function readEntryHeader(bytes: Uint8Array, end: number): { length: number; guid: Uint8Array } {
  const reader = new ByteReader(bytes, 'little', { offset: end - entryHeader });
  const length = reader.u16('firmware footer entry');
  if (length < entryHeader) throw malformed('has a footer entry without length');
  return { length, guid: reader.take(16, 'firmware footer entry') };
}

function readSections(bytes: Uint8Array, fromEnd: number): readonly MetadataSection[] {
  if (fromEnd > bytes.length) throw malformed('has SEV metadata outside of the image');
  const field = 'firmware SEV metadata';
  const reader = new ByteReader(bytes, 'little', { offset: bytes.length - fromEnd });
  if (reader.u32(field) !== metadataSignature)
    throw malformed('has SEV metadata without signature');
  reader.u32(field);
  if (reader.u32(field) !== metadataVersion) throw malformed('has SEV metadata of another version');
  const count = reader.u32(field);
  if (count > sectionsMax) throw malformed(`has ${count} SEV metadata sections`);
  return Array.from({ length: count }, () => ({
    gpa: reader.u32(field),
    size: reader.u32(field),
    type: reader.u32(field),
  }));
}

function malformed(why: string): CvmpError {
  return new CvmpError('MALFORMED', `the firmware ${why}`, { field: 'firmware' });
}
