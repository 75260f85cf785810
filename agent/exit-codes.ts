import type { ErrorCode } from '#core/errors.js';

/** How `cvmp-agent` ends; stable, for init systems and scripts. */
export const exitCodes = {
  ok: 0,
  fault: 1,
  usage: 2,
  refused: 10,
  serverUntrusted: 11,
  configMismatch: 12,
  disk: 13,
  tsm: 14,
  unavailable: 15,
  delivery: 16,
  stopped: 17,
  rollback: 18,
} as const;

/** Every code that is not the Key Server's refusal has its row; the rest are refusals. */
const rows: Partial<Record<ErrorCode, number>> = {
  USAGE: exitCodes.usage,
  CONFIG: exitCodes.usage,
  // The peer failed to prove that it is the Key Server of the config document, or the policy was
  // not signed by the tenant named there, or it sent what no honest Key Server sends.
  SERVER_UNTRUSTED: exitCodes.serverUntrusted,
  KCV_MISMATCH: exitCodes.serverUntrusted,
  // Its log does not continue what it said before, or it noticed so itself.
  LOG_INCONSISTENT: exitCodes.rollback,
  SERVER_ROLLBACK: exitCodes.rollback,
  CONFIG_MISMATCH: exitCodes.configMismatch,
  DISK: exitCodes.disk,
  HEADER_REFUSED: exitCodes.disk,
  TSM_UNAVAILABLE: exitCodes.tsm,
  TSM_BUSY: exitCodes.tsm,
  TPM_UNAVAILABLE: exitCodes.tsm,
  UNAVAILABLE: exitCodes.unavailable,
  SHUTTING_DOWN: exitCodes.unavailable,
  SEALED: exitCodes.unavailable,
  STORE_WRITE: exitCodes.unavailable,
  RATE: exitCodes.unavailable,
  ENDORSEMENT_UNAVAILABLE: exitCodes.unavailable,
  ENDORSEMENT_INVALID: exitCodes.unavailable,
  DELIVERY: exitCodes.delivery,
  CANCELLED: exitCodes.stopped,
  INTERNAL: exitCodes.fault,
};

/** The exit code for an error code. */
export function exitCode(code: ErrorCode): number {
  return rows[code] ?? exitCodes.refused;
}
