import { ByteReader, equalBytes, toHex } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { guidBytes } from '../guid.js';

/**
 * The table of GUIDed entries at the end of an OVMF image (OvmfPkg, ResetVector.nasmb), by which a
 * firmware tells the hypervisor how it wants to be launched. SVSM images have one too.
 */
export type FooterTable = ReadonlyMap<string, Uint8Array>;

export const footerTableGuid = guidBytes('96b582de-1fb2-45f7-baea-a366c55a082d');

/** u16 length, then the GUID; the data of an entry lie before its header. */
const entryHeader = 2 + 16;
/** The table ends this far from the end of the image: the reset vector follows. */
const footerFromEnd = 32;

/**
 * Entries by hex GUID; the table is read from its end, as its entries are.
 * @throws CvmpError MALFORMED
 */
export function readFooterTable(bytes: Uint8Array): FooterTable {
  const entries = new Map<string, Uint8Array>();
  const end = bytes.length - footerFromEnd;
  const footer = readEntryHeader(bytes, end);
  if (!equalBytes(footer.guid, footerTableGuid)) throw malformedFirmware('has no footer table');
  const start = end - footer.length;
  if (start < 0) throw malformedFirmware('has a footer table that is longer than the image');
  let at = end - entryHeader;
  while (at - start >= entryHeader) {
    const { length, guid } = readEntryHeader(bytes, at);
    if (at - length < start) {
      throw malformedFirmware('has a footer entry that is longer than its table');
    }
    entries.set(toHex(guid), bytes.subarray(at - length, at - entryHeader));
    at -= length;
  }
  return entries;
}

/**
 * The u32 that an entry begins with; undefined where there is no such entry.
 * @throws CvmpError MALFORMED where the entry is shorter
 */
export function footerNumber(
  table: FooterTable,
  guid: Uint8Array,
  name: string,
): number | undefined {
  const data = table.get(toHex(guid));
  return data === undefined ? undefined : new ByteReader(data, 'little').u32(`firmware ${name}`);
}

/** The header of the entry that ends at `end`. */
function readEntryHeader(bytes: Uint8Array, end: number): { length: number; guid: Uint8Array } {
  if (end < entryHeader) throw malformedFirmware('has no footer table');
  const reader = new ByteReader(bytes, 'little', { offset: end - entryHeader });
  const length = reader.u16('firmware footer entry');
  if (length < entryHeader) throw malformedFirmware('has a footer entry without length');
  return { length, guid: reader.take(16, 'firmware footer entry') };
}

/** MALFORMED: "the firmware ...". */
export function malformedFirmware(why: string): CvmpError {
  return new CvmpError('MALFORMED', `the firmware ${why}`, { field: 'firmware' });
}
