import { ByteReader, concat } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { type MeasuredEvent, measured } from './measured-event.js';

const efiGptEvent = 0x80000006;
const signature = 0x5452415020494645n; // "EFI PART"
const headerLength = 92;
const entryLength = 128;
const entriesMax = 128;

/**
 * The partition table of the disk that is booted from: header, number of partitions, partitions
 * (TCG PFP 10.4.1, UEFI_GPT_DATA). Measured into PCR 5 before the first image from that disk.
 * @param disk its first sectors: at least 34 of 512 bytes
 * @throws CvmpError MALFORMED
 */
export function gptEvent(disk: Uint8Array, sectorLength = 512): MeasuredEvent {
  const field = 'partition table';
  const header = new ByteReader(disk, 'little', { offset: sectorLength }).take(headerLength, field);
  const reader = new ByteReader(header, 'little');
  if (reader.u64(field) !== signature) throw malformed('the disk has no GUID partition table');
  reader.offset = 72;
  const entriesAt = reader.u64(field);
  const count = reader.u32(field);
  const length = reader.u32(field);
  if (length !== entryLength || count > entriesMax || entriesAt > BigInt(disk.length)) {
    throw malformed('the partition table has an unusual form');
  }
  const entries = new ByteReader(disk, 'little', { offset: Number(entriesAt) * sectorLength });
  const used = Array.from({ length: count }, () => entries.take(entryLength, field)).filter(
    // A partition without a type is none.
    (entry) => entry.subarray(0, 16).some((byte) => byte !== 0),
  );
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(used.length), true);
  const what = `partition table (${used.length} partitions)`;
  return measured(5, efiGptEvent, what, concat(header, number, ...used));
}

function malformed(why: string): CvmpError {
  return new CvmpError('MALFORMED', why, { field: 'disk' });
}
