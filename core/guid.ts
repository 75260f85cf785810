import { concat, fromHex, reversed, toHex } from './bytes.js';

/** A GUID in the mixed-endian form of UEFI: the first three groups are little-endian. 16 bytes. */
export function guidBytes(text: string): Uint8Array {
  const groups = text.split('-').map((group) => fromHex(group));
  return concat(...groups.map((group, i) => (i < 3 ? reversed(group) : group)));
}

/** Text of a GUID from its mixed-endian bytes (16), lower case. */
export function guidText(bytes: Uint8Array): string {
  const hex = toHex(bytes);
  const byte = (at: number) => hex.slice(2 * at, 2 * at + 2);
  const first = byte(3) + byte(2) + byte(1) + byte(0);
  return `${first}-${byte(5)}${byte(4)}-${byte(7)}${byte(6)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
