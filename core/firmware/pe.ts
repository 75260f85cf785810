import { crypto } from '#crypto';
import { ByteReader } from '../bytes.js';
import type { HashName } from '../crypto.js';
import { CvmpError } from '../errors.js';

/** A section of a PE image (PE/COFF s.4). */
export interface PeSection {
  readonly name: string;
  /** Bytes that it fills in memory; what exceeds the file's is zero. */
  readonly virtualSize: number;
  /** What the file holds of it. */
  readonly raw: Uint8Array;
}

/** What CVMP reads of an EFI application. */
export interface PeImage {
  /** In the order of the section table. */
  readonly sections: readonly PeSection[];
  /** Attribute certificate table (WIN_CERTIFICATE entries); empty where it is not signed. */
  readonly certificates: Uint8Array;
  /** The ranges that Authenticode hashes, in order. */
  readonly hashed: readonly Uint8Array[];
}

/** Largest image, bytes. */
export const imageBytesMax = 1024 * 1024 * 1024;
/** What Windows loads at most. */
const sectionsMax = 96;
/** A section fills at most so much more memory than file. */
const zeroFillMax = 256 * 1024 * 1024;
const sectionHeaderLength = 40;
const certificateDirectory = 4;

/** Offsets in the optional header that both formats share. */
const optional = { sizeOfHeaders: 60, checksum: 64 } as const;
/** Magic, and where the number of data directories stands. */
const formats: ReadonlyMap<number, number> = new Map([
  [0x10b, 92],
  [0x20b, 108],
]);

/**
 * Parses an EFI application (PE32 or PE32+). Refuses what leaves room for another reading: sections
 * that overlap, lie in the headers, or end outside of the file.
 * @throws CvmpError MALFORMED, SIZE
 */
export function parsePe(bytes: Uint8Array): PeImage {
  if (bytes.length > imageBytesMax) throw new CvmpError('SIZE', 'the PE image is too long', field);
  const coff = coffOffset(bytes);
  const reader = at(bytes, coff + 2);
  const count = reader.u16('PE sections');
  reader.offset = coff + 16;
  const optionalLength = reader.u16('PE optional header');
  const header = readOptionalHeader(bytes, coff + 20, optionalLength);
  const tableOffset = coff + 20 + optionalLength;
  if (count > sectionsMax) throw malformed(`has ${count} sections`);
  if (tableOffset + count * sectionHeaderLength > header.headersLength) {
    throw malformed('has a section table outside of its headers');
  }
  const ranges = Array.from({ length: count }, (_, i) =>
    readSection(bytes, tableOffset + i * sectionHeaderLength),
  );
  const contents = requireApart(ranges, header.headersLength);
  const rest = restOf(bytes, contents, header);
  return {
    sections: ranges.map(({ name, virtualSize, offset, length }) => ({
      name,
      virtualSize,
      raw: bytes.subarray(offset, offset + length),
    })),
    certificates: header.certificates,
    hashed: [
      ...header.hashed,
      ...contents.map(({ offset, length }) => bytes.subarray(offset, offset + length)),
      rest,
    ],
  };
}

/**
 * The Authenticode digest: what the firmware measures into PCR 4, what is signed, and what db and
 * dbx may name (Authenticode Portable Executable Signature Format, "Calculating the PE Image Hash").
 */
export function authenticodeDigest(image: PeImage, hash: HashName): Uint8Array {
  return crypto.hash(hash, ...image.hashed);
}

const zeros = new Uint8Array(1024 * 1024);

/** A section as it lies in memory: contents, then zeros. */
export function sectionInMemory({ raw, virtualSize }: PeSection): readonly Uint8Array[] {
  const parts = [raw.subarray(0, Math.min(raw.length, virtualSize))];
  for (let left = virtualSize - raw.length; left > 0; left -= zeros.length) {
    parts.push(zeros.subarray(0, Math.min(left, zeros.length)));
  }
  return parts;
}

/** The COFF header, after "PE\0\0". */
function coffOffset(bytes: Uint8Array): number {
  if (at(bytes, 0).u16('PE image') !== 0x5a4d) throw malformed('has no MZ header');
  const offset = at(bytes, 0x3c).u32('PE image');
  if (offset > bytes.length || at(bytes, offset).u32('PE image') !== 0x4550) {
    throw malformed('has no PE header');
  }
  return offset + 4;
}

interface Header {
  readonly headersLength: number;
  readonly certificates: Uint8Array;
  readonly certificatesOffset: number;
  /** The headers without checksum and entry of the certificate table. */
  readonly hashed: readonly Uint8Array[];
}

function readOptionalHeader(bytes: Uint8Array, start: number, length: number): Header {
  const magic = at(bytes, start).u16('PE magic');
  const countOffset = formats.get(magic);
  if (countOffset === undefined) throw malformed(`has magic ${magic}`);
  const headersLength = at(bytes, start + optional.sizeOfHeaders).u32('PE SizeOfHeaders');
  const directories = at(bytes, start + countOffset).u32('PE data directories');
  const fits = countOffset + 4 + 8 * directories <= length && directories <= 16;
  if (!fits || start + length > headersLength || headersLength > bytes.length) {
    throw malformed('has headers that do not fit');
  }
  const checksum = start + optional.checksum;
  const beforeDirectory = (end: number) => [
    bytes.subarray(0, checksum),
    bytes.subarray(checksum + 4, end),
  ];
  if (directories <= certificateDirectory) {
    return {
      headersLength,
      certificates: new Uint8Array(),
      certificatesOffset: bytes.length,
      hashed: beforeDirectory(headersLength),
    };
  }
  const entry = start + countOffset + 4 + 8 * certificateDirectory;
  const reader = at(bytes, entry);
  const offset = reader.u32('PE certificate table');
  const size = reader.u32('PE certificate table');
  if (size !== 0 && (offset < headersLength || offset + size !== bytes.length)) {
    throw malformed('has a certificate table that is not its end');
  }
  const certificatesOffset = bytes.length - size;
  return {
    headersLength,
    certificates: bytes.subarray(certificatesOffset),
    certificatesOffset,
    hashed: [...beforeDirectory(entry), bytes.subarray(entry + 8, headersLength)],
  };
}

interface SectionRange {
  readonly name: string;
  readonly virtualSize: number;
  readonly offset: number;
  readonly length: number;
}

function readSection(bytes: Uint8Array, start: number): SectionRange {
  const reader = at(bytes, start);
  const name = reader.take(8, 'PE section');
  const virtualSize = reader.u32('PE section');
  reader.u32('PE section');
  const length = reader.u32('PE section');
  const stated = reader.u32('PE section');
  // Sections that are all zeros may state any place.
  const offset = length === 0 ? 0 : stated;
  if (offset + length > bytes.length) throw malformed('has a section outside of the file');
  if (virtualSize - length > zeroFillMax) {
    throw new CvmpError('SIZE', `a PE section fills ${virtualSize} bytes of memory`, field);
  }
  return { name: sectionName(name), virtualSize, offset, length };
}

function sectionName(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = bytes.subarray(0, end < 0 ? bytes.length : end);
  if (text.some((byte) => byte < 0x20 || byte > 0x7e)) throw malformed('has an unreadable section');
  return String.fromCharCode(...text);
}

/** Sections with contents in the order of the file. @throws CvmpError MALFORMED where they overlap */
function requireApart(
  ranges: readonly SectionRange[],
  headersLength: number,
): readonly SectionRange[] {
  const contents = ranges.filter(({ length }) => length > 0).sort((a, b) => a.offset - b.offset);
  let end = headersLength;
  for (const { offset, length, name } of contents) {
    if (offset < end) throw malformed(`has section ${name} over other contents`);
    end = offset + length;
  }
  return contents;
}

/**
 * What follows headers and sections and is no certificate. The standard counts bytes instead of
 * looking where the last section ends; gaps between sections shift what is hashed, as in EDK II.
 */
function restOf(bytes: Uint8Array, contents: readonly SectionRange[], header: Header): Uint8Array {
  const hashed = contents.reduce((sum, { length }) => sum + length, header.headersLength);
  const last = contents.at(-1);
  if (last !== undefined && last.offset + last.length > header.certificatesOffset) {
    throw malformed('has a section in its certificate table');
  }
  return bytes.subarray(hashed, Math.max(hashed, header.certificatesOffset));
}

const field = { field: 'pe' };

function at(bytes: Uint8Array, offset: number): ByteReader {
  return new ByteReader(bytes, 'little', { offset });
}

function malformed(why: string): CvmpError {
  return new CvmpError('MALFORMED', `the PE image ${why}`, field);
}
