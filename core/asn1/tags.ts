/** Identifier octets that CVMP meets (X.690 s.8.1.2); high tag numbers are refused. */
export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Identifier octet of a context-specific primitive element `[n] IMPLICIT`, n below 31. */
export function implicitTag(n: number): number {
  return 0x80 | n;
}

/** Identifier octet of a context-specific constructed element `[n] EXPLICIT`, n below 31. */
export function explicitTag(n: number): number {
  return 0xa0 | n;
}

/** How an identifier octet reads in a message. */
export function tagName(octet: number): string {
  const known = Object.entries(tag).find(([, value]) => value === octet);
  if (known !== undefined) return known[0];
  return (octet & 0xc0) === 0x80 ? `[${octet & 0x1f}]` : `0x${octet.toString(16)}`;
}
