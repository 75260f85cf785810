import { createPublicKey } from 'node:crypto';
import { concat, utf8 } from '#core/bytes.js';
import type { FakeTpm } from './tpm.js';

// Azure's HCL report around any hardware report.

const u32 = (value: number) => {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
};

/** Runtime data that names the AK of a TPM. */
export function runtimeData(
  tpm: Pick<FakeTpm, 'akSpki'>,
  change: Readonly<Record<string, unknown>> = {},
): Uint8Array {
  const key = createPublicKey({ key: Buffer.from(tpm.akSpki), format: 'der', type: 'spki' });
  const { n, e } = key.export({ format: 'jwk' });
  return utf8(
    JSON.stringify({
      keys: [
        { kid: 'HCLAkPub', key_ops: ['sign'], kty: 'RSA', e, n },
        { kid: 'HCLEkPub', key_ops: ['encrypt'], kty: 'RSA', e, n },
      ],
      'vm-configuration': { 'secure-boot': true, 'tpm-enabled': true },
      'user-data': 'AB'.repeat(64),
      ...change,
    }),
  );
}

export function hclReport(content: {
  /** At most 1184 bytes; zeros follow. */
  readonly hardware: Uint8Array;
  readonly runtimeData: Uint8Array;
  /** 2 SNP, 4 TDX. */
  readonly reportType?: number;
  readonly hashType?: number;
}): Uint8Array {
  const { hardware, runtimeData: data } = content;
  return concat(
    utf8('HCLA'),
    u32(2),
    u32(1216 + 20 + data.length),
    u32(2),
    new Uint8Array(16),
    hardware,
    new Uint8Array(1184 - hardware.length),
    u32(20 + data.length),
    u32(1),
    u32(content.reportType ?? 2),
    u32(content.hashType ?? 1),
    u32(data.length),
    data,
  );
}
