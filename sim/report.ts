import type { EcPrivateKey } from '#core/crypto.js';
import { snpSignature } from '#core/snp/launch/id-block.js';
import {
  keyInfoBits,
  type ReportFieldName,
  reportFields,
  reportLength,
  signatureFields,
  signedLength,
} from '#core/snp/layout.js';
import { crypto } from '#crypto';

/** Values of report fields by their ABI names; numbers are written little-endian. */
export type ReportValues = Partial<Readonly<Record<ReportFieldName, Uint8Array | bigint | number>>>;

/**
 * Writes an unsigned report: what is not given is zero. Fields that the version does not have yet are
 * left out.
 */
export function encodeReport(values: ReportValues): Uint8Array {
  const report = new Uint8Array(reportLength);
  const version = Number(values.VERSION ?? 0);
  for (const [name, value] of Object.entries(values)) {
    const field: { offset: number; length: number; since?: number } =
      reportFields[name as ReportFieldName];
    if (field.since !== undefined && version < field.since) continue;
    report.set(fieldBytes(name, value, field.length), field.offset);
  }
  return report;
}

function fieldBytes(name: string, value: Uint8Array | bigint | number, length: number): Uint8Array {
  if (value instanceof Uint8Array) {
    if (value.length !== length) throw new TypeError(`${name} has ${length} bytes`);
    return value;
  }
  let rest = BigInt(value);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  if (rest !== 0n) throw new TypeError(`${name} has ${length} bytes`);
  return bytes;
}

/** KEY_INFO as the firmware composes it. */
export function keyInfo(options: {
  readonly signingKey: 'VCEK' | 'VLEK' | 'none';
  readonly maskChipKey?: boolean;
  readonly authorKeyEn?: boolean;
}): number {
  const signer = { VCEK: 0, VLEK: 1, none: 7 }[options.signingKey];
  return (
    (signer << keyInfoBits.signingKeyShift) |
    (options.maskChipKey ? keyInfoBits.maskChipKey : 0) |
    (options.authorKeyEn ? keyInfoBits.authorKeyEn : 0)
  );
}

/** Signs bytes 0 to 0x29F in place of whatever signature there is; returns a copy. */
export async function signReport(report: Uint8Array, key: EcPrivateKey): Promise<Uint8Array> {
  const out = new Uint8Array(report);
  const signature = snpSignature(await crypto.sign(key, out.subarray(0, signedLength)));
  out.set(signature, signatureFields.R.offset);
  return out;
}
