import type { ErrorCode } from '../errors.js';
import type { Claims } from './claims.js';

/** A policy check that failed. */
export interface FailedCheck {
  readonly code: ErrorCode;
  /** Stable name of the check: `snp.guest-policy.debug`. */
  readonly check: string;
  /** What was asked and what was found, for the tenant's record. */
  readonly message: string;
}

/** What a level asked and did not find. */
export interface LevelGap {
  readonly n: number;
  readonly failures: readonly FailedCheck[];
}

/** Outcome of an appraisal (RFC 9334 s.8.4) with every failed check. */
export interface AttestationResult {
  readonly format: string;
  /** True where no check failed and at least level 1 holds. */
  readonly accepted: boolean;
  readonly simulated: boolean;
  readonly claims: Claims;
  /** All of them, in the order of the checks; empty where accepted. */
  readonly failures: readonly FailedCheck[];
  /** Largest n so that the rules of levels 1 to n all hold; 0 where level 1 does not. */
  readonly level: number;
  /** What kept the evidence from the next level; undefined on the highest. */
  readonly nextLevel: LevelGap | undefined;
}
