import { ByteReader } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { guidText } from '../guid.js';

/** A UEFI variable as a firmware keeps it. */
export interface StoredVariable {
  /** GUID in text form. */
  readonly vendor: string;
  readonly name: string;
  readonly data: Uint8Array;
}

/** EFI_SYSTEM_NV_DATA_FV: a firmware volume that holds variables. */
const volumeGuid = 'fff12b8d-7696-4c8b-a985-2747075b4f50';
/** Variables with a time of last change (VariableFormat.h). */
const storeGuid = 'aaf32c78-947b-439a-a180-2e144ec37792';
const volumeSignature = 0x4856465f; // "_FVH"
const storeFormatted = 0x5a;
const storeHealthy = 0xfe;
const variableStart = 0x55aa;
/** Added and not on its way out; 0x3E: the old value while a new one is written. */
const stateAdded = 0x3f;
const stateReplaced = 0x3e;
const alignment = 4;
const nameBytesMax = 1024;
const variablesMax = 4096;

/**
 * Reads the variables of an OVMF variable store (`OVMF_VARS.fd`, or the CFV section of a TDVF image):
 * what Secure Boot starts with. A store that was only formatted has none.
 * @throws CvmpError MALFORMED, SIZE
 */
export function readVariableStore(bytes: Uint8Array): readonly StoredVariable[] {
  const start = volumeHeaderLength(bytes);
  const reader = new ByteReader(bytes, 'little', { offset: start });
  const field = 'variable store';
  if (guidText(reader.take(16, field)) !== storeGuid) throw malformed('has another format');
  const length = reader.u32(field);
  const format = reader.u8(field);
  const state = reader.u8(field);
  if (format !== storeFormatted || state !== storeHealthy) throw malformed('is not healthy');
  const end = start + length;
  if (end > bytes.length) throw malformed('is longer than its volume');
  reader.take(6, field);
  const found = new Map<string, { readonly state: number; readonly variable: StoredVariable }>();
  while (end - reader.offset >= 2 && reader.u16(field) === variableStart) {
    const { state, variable } = readVariable(reader, end);
    const key = `${variable.vendor} ${variable.name}`;
    if (state === stateAdded || (state === stateReplaced && !found.has(key))) {
      if (state === stateAdded && found.get(key)?.state === stateAdded) {
        throw malformed(`has ${variable.name} twice`);
      }
      found.set(key, { state, variable });
    }
    if (found.size > variablesMax) throw new CvmpError('SIZE', 'too many variables', { field });
    reader.offset += -reader.offset & (alignment - 1);
  }
  return [...found.values()].map(({ variable }) => variable);
}

/** EFI_FIRMWARE_VOLUME_HEADER (PI 1.7 vol. 3, s.3.2.1). */
function volumeHeaderLength(bytes: Uint8Array): number {
  const field = 'firmware volume';
  const reader = new ByteReader(bytes, 'little');
  reader.take(16, field);
  if (guidText(reader.take(16, field)) !== volumeGuid) throw malformed('has no variable volume');
  const length = reader.u64(field);
  if (reader.u32(field) !== volumeSignature || length > BigInt(bytes.length)) {
    throw malformed('has no variable volume');
  }
  reader.u32(field);
  return reader.u16(field);
}

/** AUTHENTICATED_VARIABLE_HEADER after its StartId, name and data. */
function readVariable(
  reader: ByteReader,
  end: number,
): { readonly state: number; readonly variable: StoredVariable } {
  const field = 'variable';
  const state = reader.u8(field);
  // Reserved, attributes, monotonic count, time stamp, index of the public key.
  reader.take(1 + 4 + 8 + 16 + 4, field);
  const nameLength = reader.u32(field);
  const dataLength = reader.u32(field);
  const vendor = guidText(reader.take(16, field));
  if (nameLength > nameBytesMax || nameLength % 2 !== 0)
    throw malformed('has a variable without name');
  if (reader.offset + nameLength + dataLength > end)
    throw malformed('has a variable beyond its end');
  const name = new ByteReader(reader.take(nameLength, field), 'little');
  let text = '';
  while (name.remaining > 0) text += String.fromCharCode(name.u16(field));
  const data = reader.take(dataLength, field);
  return { state, variable: { vendor, name: text.replace(/\0+$/, ''), data } };
}

function malformed(why: string): CvmpError {
  return new CvmpError('MALFORMED', `the variable store ${why}`, { field: 'variable_store' });
}
