import type { ErrorCode } from '#core/errors.js';

/** The `reason_class` of the vectors that each error code is, where it is one. */
const reasonClasses: Readonly<Partial<Record<ErrorCode, string>>> = {
  MALFORMED: 'malformed',
  NOT_CANONICAL: 'malformed',
  SIZE: 'malformed',
  UNSUPPORTED_VERSION: 'unsupported-version',
  UNSUPPORTED_SIGNATURE_ALGO: 'unsupported-algorithm',
  WRONG_SIGNING_KEY: 'wrong-signing-key',
  UNTRUSTED_ROOT: 'untrusted-root',
  CHAIN_INVALID: 'chain-invalid',
  UNKNOWN_CRITICAL: 'chain-invalid',
  CERT_EXPIRED: 'expired',
  CERT_REVOKED: 'revoked',
  WRONG_KEY_TYPE: 'wrong-key-type',
  CERT_EXTENSION_MISSING: 'missing-extension',
  PRODUCT_MISMATCH: 'product-mismatch',
  CHIP_ID_MISMATCH: 'chip-id-mismatch',
  TCB_MISMATCH: 'tcb-mismatch',
  EVIDENCE_SIGNATURE_INVALID: 'signature-invalid',
  COLLATERAL_STALE: 'stale',
  POLICY_DEBUG: 'debug-allowed',
  POLICY_MIGRATION: 'migration-agent-allowed',
  POLICY_VMPL: 'vmpl',
};

/** The reason class of a code, or the code itself where it has none. */
export function reasonClass(code: ErrorCode): string {
  return reasonClasses[code] ?? code;
}
