import type { KeyToActivate } from './activation.js';
import type { FailedCheck } from './attestation-result.js';
import type { Claims } from './claims.js';
import type { CmwCollection } from './cmw.js';
import type { EndorsementNeed, Endorsements, TrustAnchor } from './endorsements.js';
import type { LevelRules } from './level-rules.js';

/**
 * One evidence format (anchor: core/snp/scheme.ts). `Rules` and `Level` are the format's part of an
 * appraisal policy and of an SVN level; nobody else looks into them.
 */
export interface EvidenceScheme<E, C extends Claims, Rules, Level> {
  /** Key of the format in policies, anchors and the table of schemes. */
  readonly format: string;

  /** True where the collection holds evidence of this format. */
  admits(collection: CmwCollection): boolean;

  /**
   * Size and shape only; nothing is trusted yet.
   * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_EVIDENCE
   */
  parse(collection: CmwCollection): E;

  /**
   * What vendors publish for this evidence. Where the evidence can be told from garbage without it,
   * garbage needs nothing, so that nobody is asked in vain. Absent: the format needs nothing.
   * @param endorsements what the Verifier holds already
   * @throws CvmpError for evidence that verify will refuse
   */
  needs?(
    evidence: E,
    endorsements: Endorsements,
    anchors: readonly TrustAnchor[],
    at: number,
  ): Promise<readonly EndorsementNeed[]>;

  /**
   * The key that must be activated before verify, where the evidence rests on one.
   * @throws CvmpError with a code of the evidence section of the error table
   */
  toActivate?(
    evidence: E,
    endorsements: Endorsements,
    anchors: readonly TrustAnchor[],
    at: number,
  ): Promise<KeyToActivate | undefined>;

  /**
   * Chain and revocation, signature of the hardware, equality of certificate and evidence
   * (protocol.md s.6.8 steps 4 to 6). The first failure ends it.
   * @param at time of evaluation, milliseconds since 1970
   * @throws CvmpError with a code of the evidence section of the error table
   */
  verify(
    evidence: E,
    endorsements: Endorsements,
    anchors: readonly TrustAnchor[],
    at: number,
  ): Promise<C>;

  /** What no policy can allow (step 10); all failures. */
  deny(claims: C): readonly FailedCheck[];

  /** Rules of a policy (step 11); all failures. */
  appraise(claims: C, rules: Rules): readonly FailedCheck[];

  /** What the claims lack for one level taken by itself (step 12); all failures. */
  lacks(claims: C, rules: Rules, level: Level): readonly FailedCheck[];

  /** What a careful tenant should know of these rules, in sentences; absent: nothing. */
  warnings?(rules: Rules, levels: readonly Level[]): readonly string[];

  /** How levels of this format compare (protocol.md s.6.4). */
  readonly levelRules: LevelRules<Level, Rules>;
}

/** A scheme whose types are known to itself alone. */
export type AnyScheme = EvidenceScheme<unknown, Claims, unknown, unknown>;
