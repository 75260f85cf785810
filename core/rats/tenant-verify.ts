import { crypto } from '#crypto';
import { encode } from '../cbor/encode.js';
import type { Credential } from './activation.js';

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

/**
 * What shows a tenant that the TPM opened his credential, and gives the secret to nobody: HMAC-SHA-256
 * over the deterministic CBOR of [label, nonce, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET]. A secret of a
 * session with a Key Server is of no use here, nor this proof there.
 * @param secret as sealed
 * @param nonce of the evidence
 * @returns 32 bytes
 */
export function tenantActivationProof(
  secret: Uint8Array,
  nonce: Uint8Array,
  { credentialBlob, encryptedSecret }: Credential,
): Uint8Array {
  const over = encode([`${label} activation`, nonce, credentialBlob, encryptedSecret]);
  return crypto.hmac('sha256', secret, over);
}
