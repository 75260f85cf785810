import { ByteReader } from '../../bytes.js';
import { footerNumber, malformedFirmware, readFooterTable } from '../../firmware/footer-table.js';
import { guidBytes } from '../../guid.js';

export const pageLength = 0x1000;

/** Types of TDVF sections (TDX Virtual Firmware Design Guide, table 11-3). */
export const tdvfSectionType = {
  bfv: 0,
  cfv: 1,
  tdHob: 2,
  tempMem: 3,
  permMem: 4,
  payload: 5,
  payloadParam: 6,
} as const;

/** Section attributes. */
export const tdvfAttribute = {
  /** Contents enter MRTD. */
  mrExtend: 1,
  /** Memory that is added while the TD runs: not part of the launch. */
  pageAug: 2,
} as const;

/** A range of memory that the hypervisor prepares before launch. */
export interface TdvfSection {
  readonly type: number;
  readonly attributes: number;
  readonly gpa: number;
  readonly memoryLength: number;
  /** What the image holds of it; the rest of the range is zero. */
  readonly contents: Uint8Array;
}

/** Entry of the footer table that says where the TDVF descriptor is, from the end. */
export const tdvfMetadataGuid = guidBytes('e47a6535-984a-4798-865e-4685a7bf8ec2');
export const tdvfSignature = 0x46564454; // "TDVF"
export const tdvfVersion = 1;
const sectionsMax = 64;
/** All sections of a real image fill some MiB. */
const memoryMax = 256 * 1024 * 1024;
const imageMax = 64 * 1024 * 1024;

/**
 * Reads the TDVF descriptor of a firmware image: which ranges of memory a TD is launched with.
 * @param image the whole image: boot firmware with variable store, as `qemu -bios` takes it
 * @throws CvmpError MALFORMED
 */
export function parseTdvf(image: Uint8Array): readonly TdvfSection[] {
  if (image.length > imageMax) throw malformedFirmware(`has ${image.length} bytes`);
  const fromEnd = footerNumber(readFooterTable(image), tdvfMetadataGuid, 'TDX metadata offset');
  if (fromEnd === undefined) throw malformedFirmware('has no TDX metadata');
  if (fromEnd > image.length) throw malformedFirmware('has TDX metadata outside of the image');
  const field = 'firmware TDX metadata';
  const reader = new ByteReader(image, 'little', { offset: image.length - fromEnd });
  if (reader.u32(field) !== tdvfSignature) {
    throw malformedFirmware('has TDX metadata without signature');
  }
  reader.u32(field);
  if (reader.u32(field) !== tdvfVersion) {
    throw malformedFirmware('has TDX metadata of another version');
  }
  const count = reader.u32(field);
  if (count > sectionsMax) throw malformedFirmware(`has ${count} TDX metadata sections`);
  const sections = Array.from({ length: count }, () => readSection(reader, image));
  if (sections.reduce((sum, { memoryLength }) => sum + memoryLength, 0) > memoryMax) {
    throw malformedFirmware('wants too much memory for its sections');
  }
  return sections;
}

function readSection(reader: ByteReader, image: Uint8Array): TdvfSection {
  const field = 'firmware TDX metadata';
  const offset = reader.u32(field);
  const length = reader.u32(field);
  const gpa = Number(reader.u64(field));
  const memoryLength = Number(reader.u64(field));
  const type = reader.u32(field);
  const attributes = reader.u32(field);
  if (offset + length > image.length) {
    throw malformedFirmware('has a TDX section outside of the image: give the whole image');
  }
  if (
    gpa % pageLength !== 0 ||
    memoryLength % pageLength !== 0 ||
    length > memoryLength ||
    memoryLength > memoryMax ||
    gpa > Number.MAX_SAFE_INTEGER - memoryLength
  ) {
    throw malformedFirmware(`has a TDX section of ${memoryLength} bytes at ${gpa}`);
  }
  const known = tdvfAttribute.mrExtend | tdvfAttribute.pageAug;
  const isWanted = (attributes & tdvfAttribute.mrExtend) !== 0;
  const isLater = (attributes & tdvfAttribute.pageAug) !== 0;
  if ((attributes & ~known) !== 0 || (isWanted && isLater)) {
    throw malformedFirmware(`has a TDX section with attributes ${attributes}`);
  }
  return { type, attributes, gpa, memoryLength, contents: image.subarray(offset, offset + length) };
}
