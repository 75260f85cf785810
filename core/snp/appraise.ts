import type { FailedCheck } from '../rats/attestation-result.js';
import { failed } from '../rats/checks.js';
import type { Check } from './check.js';
import type { SnpClaims } from './claims.js';
import { guestPolicyBits } from './layout.js';
import { levelChecks } from './level-checks.js';
import { ruleChecks } from './rule-checks.js';
import type { SnpLevel, SnpRules } from './rules.js';

/** Refused whatever a policy says (protocol.md s.0.7). */
const denials: readonly Check<undefined>[] = [
  {
    name: 'guest-policy.debug',
    code: 'POLICY_DEBUG',
    fault: ({ report }) =>
      (report.guestPolicy & guestPolicyBits.DEBUG) === 0n
        ? undefined
        : 'DEBUG is set in the guest policy: the host can read the memory of this guest',
  },
];

/** What no policy can allow. */
export function deny(claims: SnpClaims): readonly FailedCheck[] {
  return failed('snp', denials, claims, undefined);
}

/** Every rule that the claims break. */
export function appraise(claims: SnpClaims, asked: SnpRules): readonly FailedCheck[] {
  return failed('snp', ruleChecks, claims, asked);
}

/** Everything that the claims lack for this level. */
export function lacks(claims: SnpClaims, asked: SnpRules, level: SnpLevel): readonly FailedCheck[] {
  return failed('snp', levelChecks, claims, { rules: asked, level });
}
