import { concat } from '#core/bytes.js';
import { utf16 } from '#core/eventlog/efi-variable.js';
import { guidBytes } from '#core/guid.js';

/** A variable in a store that a test makes. */
export interface FakeVariable {
  readonly vendor: string;
  readonly name: string;
  readonly data: Uint8Array;
  /** 0x3F, in force, unless told. */
  readonly state?: number;
}

export const volumeHeaderLength = 72;
const storeHeaderLength = 28;

/** A firmware volume with a variable store, as OVMF_VARS.fd. */
export function fakeVariableStore(variables: readonly FakeVariable[], length = 0x4000): Uint8Array {
  const volume = new Uint8Array(length).fill(0xff);
  const view = new DataView(volume.buffer);
  volume.fill(0, 0, volumeHeaderLength + storeHeaderLength);
  volume.set(guidBytes('fff12b8d-7696-4c8b-a985-2747075b4f50'), 16);
  view.setBigUint64(32, BigInt(length), true);
  view.setUint32(40, 0x4856465f, true);
  view.setUint16(48, volumeHeaderLength, true);
  volume.set(guidBytes('aaf32c78-947b-439a-a180-2e144ec37792'), volumeHeaderLength);
  view.setUint32(volumeHeaderLength + 16, length - volumeHeaderLength, true);
  view.setUint8(volumeHeaderLength + 20, 0x5a);
  view.setUint8(volumeHeaderLength + 21, 0xfe);
  let at = volumeHeaderLength + storeHeaderLength;
  for (const variable of variables) {
    const bytes = encodeVariable(variable);
    volume.set(bytes, at);
    at += bytes.length + (-(at + bytes.length) & 3);
  }
  return volume;
}

function encodeVariable({ vendor, name, data, state = 0x3f }: FakeVariable): Uint8Array {
  const text = utf16(`${name}\0`);
  const header = new Uint8Array(60);
  const view = new DataView(header.buffer);
  view.setUint16(0, 0x55aa, true);
  view.setUint8(2, state);
  view.setUint32(36, text.length, true);
  view.setUint32(40, data.length, true);
  header.set(guidBytes(vendor), 44);
  return concat(header, text, data);
}
