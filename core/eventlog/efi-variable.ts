import { ByteReader, concat, equalBytes } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { guidBytes, guidText } from '../guid.js';

/** An EFI variable as it was measured (TCG PFP, UEFI_VARIABLE_DATA). */
export interface EfiVariable {
  /** GUID in text form, lower case. */
  readonly vendor: string;
  readonly name: string;
  readonly data: Uint8Array;
}

/** Vendor of SecureBoot, PK and KEK. */
export const efiGlobalVariable = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
/** Vendor of db and dbx. */
export const efiImageSecurityDatabase = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f';
/** Vendor of shim's variables (MokList, SbatLevel). */
export const shimLock = '605dab50-e046-4300-abb6-3dd810dd8b23';

const nameLengthMax = 256;

/**
 * @param slack bytes that may follow the data and mean nothing; 0 unless told
 * @throws CvmpError MALFORMED, SIZE
 */
export function parseEfiVariable(bytes: Uint8Array, field: string, slack = 0): EfiVariable {
  const reader = new ByteReader(bytes, 'little');
  const vendor = guidText(reader.view(16, field));
  const nameLength = reader.u64(field);
  const dataLength = reader.u64(field);
  if (nameLength > BigInt(nameLengthMax)) {
    throw new CvmpError('SIZE', `${field} has a name of ${nameLength} characters`, { field });
  }
  const name = fromUtf16(reader.view(2 * Number(nameLength), field));
  const rest = BigInt(reader.remaining);
  if (dataLength > rest || rest - dataLength > BigInt(slack)) {
    const what = `${field} has ${rest} bytes of data where ${dataLength} are stated`;
    throw new CvmpError('MALFORMED', what, { field });
  }
  return { vendor, name, data: reader.view(Number(dataLength), field) };
}

function fromUtf16(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 2) {
    text += String.fromCharCode(bytes[i]! | (bytes[i + 1]! << 8));
  }
  return text;
}

/** Text in UTF-16LE. */
export function utf16(text: string): Uint8Array {
  const out = new Uint8Array(2 * text.length);
  const view = new DataView(out.buffer);
  for (let i = 0; i < text.length; i++) view.setUint16(2 * i, text.charCodeAt(i), true);
  return out;
}

/** UEFI_VARIABLE_DATA (TCG PFP 10.2.6): vendor, lengths, name without NUL, data. */
export function variableData(vendor: string, name: string, data: Uint8Array): Uint8Array {
  const lengths = new Uint8Array(16);
  const view = new DataView(lengths.buffer);
  view.setBigUint64(0, BigInt(name.length), true);
  view.setBigUint64(8, BigInt(data.length), true);
  return concat(guidBytes(vendor), lengths, utf16(name), data);
}

/** One entry of a signature database (UEFI 32.4.1, EFI_SIGNATURE_DATA). */
export interface Signature {
  /** GUID of its kind. */
  readonly type: string;
  /** GUID of who put it there. */
  readonly owner: string;
  /** DER certificate or digest, by type. */
  readonly data: Uint8Array;
}

/** Signature types that CVMP reads. */
export const signatureType = {
  x509: 'a5c059a1-94e4-4aa7-87b5-ab155c2bf072',
  sha256: 'c1c41626-504c-4092-aca9-41f936934328',
} as const;

const signaturesMax = 4096;
const absent = new Uint8Array();

/**
 * Entries of a signature database: db, dbx, KEK, PK (UEFI 32.4.1, EFI_SIGNATURE_LIST).
 * @throws CvmpError MALFORMED, SIZE
 */
export function parseSignatureLists(bytes: Uint8Array, field: string): readonly Signature[] {
  const signatures: Signature[] = [];
  const reader = new ByteReader(bytes, 'little');
  while (reader.remaining > 0) {
    const type = guidText(reader.view(16, field));
    const listSize = reader.u32(field);
    const headerSize = reader.u32(field);
    const size = reader.u32(field);
    const list = new ByteReader(reader.view(listSize - 28, field), 'little');
    list.view(headerSize, field);
    if (size < 16 || list.remaining % size !== 0) {
      throw new CvmpError('MALFORMED', `${field} has signatures of ${size} bytes`, { field });
    }
    if (signatures.length + list.remaining / size > signaturesMax) {
      throw new CvmpError('SIZE', `${field} has more than ${signaturesMax} signatures`, { field });
    }
    // A dbx has hundreds of entries of one owner.
    let ownerBytes: Uint8Array = absent;
    let owner = '';
    while (list.remaining > 0) {
      const bytes = list.view(16, field);
      if (!equalBytes(bytes, ownerBytes)) {
        ownerBytes = bytes;
        owner = guidText(bytes);
      }
      signatures.push({ type, owner, data: list.view(size - 16, field) });
    }
  }
  return signatures;
}
