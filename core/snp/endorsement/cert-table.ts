import { ByteReader, concat, equalBytes, isZero } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import { guidBytes } from '../../guid.js';

/** What an entry of the certificate table holds. */
export type CertTableKind = 'VCEK' | 'VLEK' | 'ASK' | 'ARK' | 'CRL';

/** GHCB specification, "SNP Extended Guest Request": GUID of each kind. */
const guids: Readonly<Record<CertTableKind, Uint8Array>> = {
  VCEK: guidBytes('63da758d-e664-4564-adc5-f4b93be8accd'),
  VLEK: guidBytes('a8074bc2-a25a-483e-aae6-39c045a0b8a1'),
  ASK: guidBytes('4ab7b379-bbac-4fe4-a02f-05aef327c782'),
  ARK: guidBytes('c0b406a4-a803-4952-9743-3fb6014cd0ae'),
  CRL: guidBytes('92f81bc3-5811-4d3d-97ff-d19f88dc67ea'),
};
const kinds = Object.keys(guids) as readonly CertTableKind[];

export interface CertTableEntry {
  readonly kind: CertTableKind;
  /** DER, usually. */
  readonly data: Uint8Array;
}

const guidLength = 16;
/** GUID, u32 offset from the start of the table, u32 length. */
const entryLength = guidLength + 8;
const entriesMax = 32;
/** Largest table, bytes: the extended guest request of Linux takes four pages. */
const tableBytesMax = 64 * 1024;

/**
 * Parses the certificate table that the host adds to an extended report (`auxblob` of configfs-tsm).
 * Untrusted: it only saves the verifier a fetch. Entries of unknown GUIDs are passed over, as the
 * specification asks; an empty blob is an empty table.
 * @throws CvmpError MALFORMED, SIZE
 */
export function parseCertTable(blob: Uint8Array): readonly CertTableEntry[] {
  const entries: CertTableEntry[] = [];
  if (blob.length === 0) return entries;
  if (blob.length > tableBytesMax) {
    throw new CvmpError('SIZE', `a certificate table of ${blob.length} bytes`);
  }
  let dataLength = 0;
  const reader = new ByteReader(blob, 'little');
  for (let i = 0; i <= entriesMax; i++) {
    const field = `certificate table entry ${i}`;
    const guid = reader.take(guidLength, field);
    const offset = reader.u32(field);
    const length = reader.u32(field);
    if (isZero(guid)) return entries;
    if (offset > blob.length || length > blob.length - offset) {
      throw new CvmpError('MALFORMED', `${field} lies outside of the table`, { field });
    }
    // Entries over the same bytes would be copied, and parsed, each for itself.
    dataLength += length;
    if (dataLength > blob.length) {
      throw new CvmpError('MALFORMED', `${field} overlaps another`, { field });
    }
    const kind = kinds.find((name) => equalBytes(guids[name], guid));
    if (kind === undefined) continue;
    entries.push({ kind, data: new Uint8Array(blob.subarray(offset, offset + length)) });
  }
  throw new CvmpError('SIZE', `the certificate table has more than ${entriesMax} entries`);
}

/** Writes a certificate table. */
export function encodeCertTable(entries: readonly CertTableEntry[]): Uint8Array {
  const head = new Uint8Array((entries.length + 1) * entryLength);
  const view = new DataView(head.buffer);
  let offset = head.length;
  for (const [i, { kind, data }] of entries.entries()) {
    const at = i * entryLength;
    head.set(guids[kind], at);
    view.setUint32(at + guidLength, offset, true);
    view.setUint32(at + guidLength + 4, data.length, true);
    offset += data.length;
  }
  return concat(head, ...entries.map(({ data }) => data));
}
