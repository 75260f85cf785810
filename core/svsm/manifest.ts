import { ByteReader, concat } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { guidBytes, guidText } from '../guid.js';

/** A service of an SVSM, and what it says about itself. */
export interface SvsmService {
  /** Lower case. */
  readonly guid: string;
  /** Meaning is the service's own; may be empty. */
  readonly manifest: Uint8Array;
}

/** The vTPM service (SVSM specification s.8.3.1). */
export const vtpmServiceGuid = 'c476f1eb-0123-45a5-9641-b4e7dde5bfe3';

const tableGuid = '63849ebb-3d92-4670-a1ff-58f9c94b87bb';
const guidLength = 16;
/** GUID and two u32: of the table its length and count, of a service offset and length of its data. */
const entryLength = guidLength + 8;
const servicesMax = 64;
/** Largest manifest, bytes; COCONUT's has about 400. */
export const manifestBytesMax = 64 * 1024;

const field = 'svsm.manifest';

/** Whether these bytes begin as a services manifest does; a service's own manifest does not. */
export function isServicesManifest(bytes: Uint8Array): boolean {
  return guidText(bytes.subarray(0, guidLength)) === tableGuid;
}

/**
 * Parses the services manifest (SVSM specification s.7.1, table 12): a table of GUIDs, each with
 * the data of its service.
 * @throws CvmpError MALFORMED, SIZE
 */
export function parseServicesManifest(bytes: Uint8Array): readonly SvsmService[] {
  if (bytes.length > manifestBytesMax) throw tooLarge(`${bytes.length} bytes`);
  const reader = new ByteReader(bytes, 'little');
  if (guidText(reader.take(guidLength, field)) !== tableGuid) throw malformed('has another GUID');
  if (reader.u32(field) !== bytes.length) throw malformed('states another length than it has');
  const count = reader.u32(field);
  if (count > servicesMax) throw tooLarge(`${count} services`);
  const dataStart = entryLength * (1 + count);
  const services: SvsmService[] = [];
  for (let i = 0; i < count; i++) {
    const guid = guidText(reader.take(guidLength, field));
    const offset = reader.u32(field);
    const length = reader.u32(field);
    if (offset < dataStart || offset > bytes.length || length > bytes.length - offset) {
      throw malformed(`has the data of ${guid} outside of its data`);
    }
    if (services.some((known) => known.guid === guid)) throw malformed(`has ${guid} twice`);
    services.push({ guid, manifest: bytes.slice(offset, offset + length) });
  }
  return services;
}

/** Writes a services manifest. */
export function encodeServicesManifest(services: readonly SvsmService[]): Uint8Array {
  let offset = entryLength * (1 + services.length);
  const length = services.reduce((all, { manifest }) => all + manifest.length, offset);
  const head = [entry(tableGuid, length, services.length)];
  for (const { guid, manifest } of services) {
    head.push(entry(guid, offset, manifest.length));
    offset += manifest.length;
  }
  return concat(...head, ...services.map(({ manifest }) => manifest));
}

function entry(guid: string, first: number, second: number): Uint8Array {
  const numbers = new Uint8Array(8);
  const view = new DataView(numbers.buffer);
  view.setUint32(0, first, true);
  view.setUint32(4, second, true);
  return concat(guidBytes(guid), numbers);
}

function malformed(what: string): CvmpError {
  return new CvmpError('MALFORMED', `the services manifest ${what}`, { field });
}

function tooLarge(what: string): CvmpError {
  return new CvmpError('SIZE', `the services manifest has ${what}`, { field });
}
