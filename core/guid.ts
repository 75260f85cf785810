import { concat, fromHex, reversed, toHex } from './bytes.js';

/** A GUID in the mixed-endian form of UEFI: the first three groups are little-endian. 16 bytes. */
export function guidBytes(text: string): Uint8Array {
  const groups = text.split('-').map((group) => fromHex(group));
  return concat(...groups.map((group, i) => (i < 3 ? reversed(group) : group)));
}

/** Text of a GUID from its mixed-endian bytes (16), lower case. */
export function guidText(bytes: Uint8Array): string {
  const [a, b, c] = [bytes.subarray(0, 4), bytes.subarray(4, 6), bytes.subarray(6, 8)].map((part) =>
    toHex(reversed(part)),
  );
  return `${a}-${b}-${c}-${toHex(bytes.subarray(8, 10))}-${toHex(bytes.subarray(10, 16))}`;
}
