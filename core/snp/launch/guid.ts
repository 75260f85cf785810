import { concat, fromHex, reversed } from '../../bytes.js';

/** A GUID in the mixed-endian form of UEFI: the first three groups are little-endian. 16 bytes. */
export function guidBytes(text: string): Uint8Array {
  const groups = text.split('-').map((group) => fromHex(group));
  return concat(...groups.map((group, i) => (i < 3 ? reversed(group) : group)));
}
