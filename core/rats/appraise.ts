import type { ErrorCode } from '../errors.js';
import type { AttestationResult, FailedCheck, LevelGap } from './attestation-result.js';
import type { VerifiedEvidence } from './verify.js';

/**
 * The format-neutral part of an Appraisal Policy for Evidence (RFC 9334 s.8.5). A Keying Policy's
 * `appraisal` and `levels` have this shape.
 */
export interface AppraisalPolicy {
  readonly allowSimulated: boolean;
  /** Rules by format; a format without rules is not admitted. */
  readonly formats: ReadonlyMap<string, unknown>;
  /** Levels 1, 2, 3 ...; a level without rules for a format is out of that format's reach. */
  readonly levels: readonly {
    readonly n: number;
    readonly formats: ReadonlyMap<string, unknown>;
  }[];
}

/**
 * Appraises verified claims (protocol.md s.6.8 steps 10 to 12). Pure, so that a decision can be
 * replayed. Lists all failures: the claims are the tenant's own, nothing is given away.
 * @param policy undefined: no policy covers the CVM, so nothing is released
 */
export function appraise(
  { scheme, claims }: Pick<VerifiedEvidence, 'scheme' | 'claims'>,
  policy: AppraisalPolicy | undefined,
): AttestationResult {
  const { format } = scheme;
  const failures: FailedCheck[] = [...scheme.deny(claims)];
  const refuse = (code: ErrorCode, check: string, message: string) =>
    failures.push({ code, check, message });

  let level = 0;
  let nextLevel: LevelGap | undefined;
  const rules = policy?.formats.get(format);
  if (policy === undefined) {
    refuse('NO_POLICY', 'policy', 'no policy covers this CVM');
  } else {
    if (claims.simulated && !policy.allowSimulated) {
      refuse(
        'POLICY_SIMULATED',
        'simulated',
        'the root of the evidence is not a vendor of hardware',
      );
    }
    if (rules === undefined) {
      refuse('POLICY_REFUSED', 'format', `the policy has no rules for ${format} evidence`);
    } else {
      failures.push(...scheme.appraise(claims, rules));
      ({ level, nextLevel } = provenLevel({ scheme, claims }, rules, policy.levels));
      if (level === 0) {
        failures.push(...(nextLevel?.failures ?? [noLevel(format, 1)]));
      }
    }
  }
  return {
    format,
    accepted: failures.length === 0,
    simulated: claims.simulated,
    claims,
    failures,
    level,
    nextLevel,
  };
}

/** The largest n so that levels 1 to n all hold (protocol.md s.6.4), and what the next one lacks. */
function provenLevel(
  { scheme, claims }: Pick<VerifiedEvidence, 'scheme' | 'claims'>,
  rules: unknown,
  levels: AppraisalPolicy['levels'],
): { level: number; nextLevel: LevelGap | undefined } {
  let level = 0;
  for (const { n, formats } of levels) {
    const rule = formats.get(scheme.format);
    const failures =
      rule === undefined ? [noLevel(scheme.format, n)] : scheme.lacks(claims, rules, rule);
    if (failures.length > 0) return { level, nextLevel: { n, failures } };
    level = n;
  }
  return { level, nextLevel: undefined };
}

function noLevel(format: string, n: number): FailedCheck {
  return {
    code: 'POLICY_REFUSED',
    check: 'level',
    message: `level ${n} has no rules for ${format} evidence`,
  };
}
