/** Remainders of one byte followed by 0 to 3 zero bytes: four bytes of input at a step. */
const [table0, table1, table2, table3] = remainders();

/**
 * CRC-32C (RFC 3720 s.B.4), with which LevelDB guards every block; Node has only CRC-32.
 * @param crc of the bytes before these
 */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  let c = ~crc;
  let i = 0;
  for (const end = bytes.length - 3; i < end; i += 4) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    c =
      table3[c & 255]! ^
      table2[(c >>> 8) & 255]! ^
      table1[(c >>> 16) & 255]! ^
      table0[(c >>> 24) & 255]!;
  }
  for (; i < bytes.length; i++) c = table0[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
}

/** LevelDB stores a CRC rotated and shifted, so that the CRC of a CRC is not trivial. */
export function unmasked(stored: number): number {
  const rotated = (stored - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

function remainders() {
  const first = new Int32Array(256);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    first[n] = c;
  }
  const next = (table: Int32Array) => table.map((c) => first[c & 255]! ^ (c >>> 8));
  const second = next(first);
  const third = next(second);
  return [first, second, third, next(third)] as const;
}
