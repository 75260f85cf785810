import type { EcPublicKey } from '../cose/key.js';
import type { LevelRules } from '../rats/level-rules.js';
import type { Tier, TrustClaimName } from './ar4si.js';

/** A verifier whose results a tenant admits (RFC 9334 s.5.1, passport model). */
export interface AdmittedVerifier {
  readonly name: string;
  /** Any of them may have signed; at least one. */
  readonly keys: readonly EcPublicKey[];
  /** `ear.verifier-id` developer that it must show; undefined: any. */
  readonly developer: string | undefined;
  /** Worst status that is admitted: `affirming` or `warning`. */
  readonly status: Extract<Tier, 'affirming' | 'warning'>;
  /** Of the result, at most. */
  readonly ageSecondsMax: number;
  /** One of them must have been applied; empty: any. */
  readonly policyIds: readonly string[];
  /** Formats of evidence that it may have appraised; empty: any. */
  readonly formats: readonly string[];
  /** Categories that every submodule must affirm. */
  readonly affirming: readonly TrustClaimName[];
}

/** Rules for Attestation Results: one of the verifiers must have made it, and as it is asked. */
export interface EarRules {
  /** None admits nothing. */
  readonly verifiers: readonly AdmittedVerifier[];
}

/** What a result must show to be of a level. */
export interface EarLevel {
  /** Lowest SVN level that the verifier says the evidence proved; 0: not looked at. */
  readonly levelMin: number;
}

const most = (levels: readonly EarLevel[]) => Math.max(0, ...levels.map((l) => l.levelMin));

/** How levels of results compare (protocol.md s.6.4 rules 1 and 2). */
export const earLevelRules: LevelRules<EarLevel> = {
  decreasing: (lower, higher) =>
    higher.levelMin !== 0 && higher.levelMin < lower.levelMin ? 'level_min' : undefined,
  relaxed: (previous, next) => (most(next) < most(previous) ? 'level_min' : undefined),
};
