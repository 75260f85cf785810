import type { Claims } from '../rats/claims.js';
import type { PckPlatform } from './endorsement/pck.js';
import type { TcbStatus } from './endorsement/tcb-status.js';
import type { TdxQuote } from './parse.js';
import type { TdMeasurements } from './registers.js';
import type { TcbEvaluation } from './tcb.js';

/** What a verified TDX quote asserts, with what Intel says of its TCB. */
export interface TdxClaims extends Claims {
  readonly format: 'tdx';
  readonly quote: TdxQuote;
  /** From the PCK certificate; its PPID is the chip id. */
  readonly platform: PckPlatform;
  readonly tcb: TcbEvaluation & { readonly status: Exclude<TcbStatus, 'Revoked'> };
  /** What the event log explains. */
  readonly measurements: TdMeasurements;
  /** When it was verified, milliseconds since 1970: accepted advisories expire. */
  readonly evaluatedAt: number;
  /** SHA-256 over the DER of the PCK certificate, for the audit record. */
  readonly endorsementDigest: Uint8Array;
}
