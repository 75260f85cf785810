import { crypto } from '#crypto';
import { encode } from '../cbor/encode.js';

const label = 'CVMP/1 tenant-verify';

/**
 * REPORT_DATA of evidence that a tenant asks a running CVM for: SHA-512 over the deterministic CBOR
 * of [label, nonce, SHA-256(config document)]. The label keeps it out of sessions with a Key Server.
 * @param nonce of the tenant, 32 to 64 bytes
 * @returns 64 bytes
 */
export function tenantVerifyReportData(nonce: Uint8Array, configDocument: Uint8Array): Uint8Array {
  return crypto.hash('sha512', encode([label, nonce, crypto.hash('sha256', configDocument)]));
}
