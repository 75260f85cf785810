import { concat } from '#core/bytes.js';

/** A section of an image that a test makes. */
export interface FakeSection {
  readonly name: string;
  readonly data: Uint8Array;
  /** Length of the data unless told. */
  readonly virtualSize?: number;
}

const fileAlignment = 512;
const peOffset = 0x80;
const optionalLength = 240;

/** Offsets in what {@link fakePe} makes. */
export const fakePeOffsets = {
  checksum: peOffset + 24 + 64,
  certificateEntry: peOffset + 24 + 112 + 32,
  sectionTable: peOffset + 24 + optionalLength,
} as const;

const padded = (length: number) => Math.ceil(length / fileAlignment) * fileAlignment;

/** An EFI application (PE32+) with these sections, and certificates at its end. */
export function fakePe(
  sections: readonly FakeSection[],
  certificates: Uint8Array = new Uint8Array(),
): Uint8Array {
  const headersLength = padded(fakePeOffsets.sectionTable + 40 * sections.length);
  const headers = new Uint8Array(headersLength);
  const view = new DataView(headers.buffer);
  const u32 = (offset: number, value: number) => view.setUint32(offset, value, true);
  const u16 = (offset: number, value: number) => view.setUint16(offset, value, true);
  u16(0, 0x5a4d);
  u32(0x3c, peOffset);
  u32(peOffset, 0x4550);
  u16(peOffset + 4, 0x8664);
  u16(peOffset + 6, sections.length);
  u16(peOffset + 20, optionalLength);
  const optional = peOffset + 24;
  u16(optional, 0x20b);
  u32(optional + 60, headersLength);
  u32(fakePeOffsets.checksum, 0x12345678);
  u32(optional + 108, 16);
  let at = headersLength;
  for (const [i, { name, data, virtualSize }] of sections.entries()) {
    const entry = fakePeOffsets.sectionTable + 40 * i;
    headers.set(new TextEncoder().encode(name), entry);
    u32(entry + 8, virtualSize ?? data.length);
    u32(entry + 16, padded(data.length));
    u32(entry + 20, at);
    at += padded(data.length);
  }
  if (certificates.length > 0) {
    u32(fakePeOffsets.certificateEntry, at);
    u32(fakePeOffsets.certificateEntry + 4, certificates.length);
  }
  const contents = sections.map(({ data }) =>
    concat(data, new Uint8Array(padded(data.length) - data.length)),
  );
  return concat(headers, ...contents, certificates);
}
