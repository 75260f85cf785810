import { concat, fromHex, reversed, toHex } from './bytes.js';

/** A GUID in the mixed-endian form of UEFI: the first three groups are little-endian. 16 bytes. */
export function guidBytes(text: string): Uint8Array {
  const groups = text.split('-').map((group) => fromHex(group));
  return concat(...groups.map((group, i) => (i < 3 ? reversed(group) : group)));
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => toHex(Uint8Array.of(byte)));
/** Bytes in the order of the text; -1 is a hyphen. */
const textOrder = [3, 2, 1, 0, -1, 5, 4, -1, 7, 6, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15];

/** Text of a GUID from its mixed-endian bytes (16), lower case. */
export function guidText(bytes: Uint8Array): string {
  let text = '';
  for (const at of textOrder) text += at < 0 ? '-' : (hexPairs[bytes[at] ?? 0] ?? '');
  return text;
}
