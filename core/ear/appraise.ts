import { equalBytes, toHex } from '../bytes.js';
import { thumbprint } from '../cose/key.js';
import type { FailedCheck } from '../rats/attestation-result.js';
import { type Check, failed } from '../rats/checks.js';
import { tierOf } from './ar4si.js';
import { reaches } from './from-result.js';
import type { EarClaims } from './passport.js';
import type { AdmittedVerifier, EarLevel, EarRules } from './rules.js';

/** One check of a verified result: says what is wrong, or nothing. */
/** Refused whatever a policy says (protocol.md s.0.7). */
const denials: readonly Check<EarClaims, undefined>[] = [
  {
    name: 'contraindicated',
    code: 'POLICY_RESULT',
    fault: ({ ear }) => {
      const statuses = [ear.status, ...[...ear.submods.values()].map(({ status }) => status)];
      return statuses.includes('contraindicated')
        ? 'the verifier found the attester contraindicated'
        : undefined;
    },
  },
];

const rules: readonly Check<EarClaims, AdmittedVerifier>[] = [
  {
    name: 'developer',
    code: 'POLICY_RESULT',
    fault: ({ ear }, { developer }) =>
      developer === undefined || ear.verifier.developer === developer
        ? undefined
        : `the verifier is of ${ear.verifier.developer}, not ${developer}`,
  },
  {
    name: 'age',
    code: 'RESULT_STALE',
    fault: ({ ear, evaluatedAt }, { ageSecondsMax }) => {
      const age = Math.floor(evaluatedAt / 1000) - ear.issuedAt;
      return age <= ageSecondsMax
        ? undefined
        : `the result is ${age} s old, at most ${ageSecondsMax} s are admitted`;
    },
  },
  {
    name: 'status',
    code: 'POLICY_RESULT',
    fault: ({ ear }, { status }) => {
      if (ear.status !== undefined && !reaches(ear.status, status)) {
        return `the result is ${ear.status}, at worst ${status} is admitted`;
      }
      const bad = [...ear.submods].find(([, one]) => !reaches(one.status, status));
      return bad === undefined
        ? undefined
        : `${bad[0]} is ${bad[1].status}, at worst ${status} is admitted`;
    },
  },
  {
    name: 'policy',
    code: 'POLICY_RESULT',
    fault: ({ ear }, { policyIds }) => {
      if (policyIds.length === 0) return undefined;
      const bad = [...ear.submods].find(
        ([, one]) => !one.policyIds.some((id) => policyIds.includes(id)),
      );
      return bad === undefined
        ? undefined
        : `${bad[0]} was appraised by none of the admitted policies`;
    },
  },
  {
    name: 'format',
    code: 'POLICY_RESULT',
    fault: ({ ear }, { formats }) => {
      if (formats.length === 0) return undefined;
      const bad = [...ear.submods].find(([, { cvmp }]) => !formats.includes(cvmp?.format ?? ''));
      return bad === undefined
        ? undefined
        : `${bad[0]} is of ${bad[1].cvmp?.format ?? 'unstated'} evidence`;
    },
  },
  {
    name: 'affirming',
    code: 'POLICY_RESULT',
    fault: ({ ear }, { affirming }) => {
      for (const [label, { vector }] of ear.submods) {
        const lacking = affirming.find((name) => tierOf(vector?.[name] ?? 0) !== 'affirming');
        if (lacking !== undefined) return `${label} does not affirm ${lacking}`;
      }
      return undefined;
    },
  },
];

const levelChecks: readonly Check<EarClaims, EarLevel>[] = [
  {
    name: 'level',
    code: 'POLICY_RESULT',
    fault: ({ ear }, { levelMin }) => {
      const levels = [...ear.submods.values()].map(({ cvmp }) => cvmp?.level ?? 0);
      const level = Math.min(...levels);
      return level >= levelMin
        ? undefined
        : `the verifier states SVN level ${level}, below ${levelMin}`;
    },
  },
];

/** What no policy can allow. */
export function deny(claims: EarClaims): readonly FailedCheck[] {
  return failed('ear', denials, claims, undefined);
}

/** Every rule of the verifier that signed; one that the policy does not name is refused. */
export function appraise(claims: EarClaims, { verifiers }: EarRules): readonly FailedCheck[] {
  const candidates = verifiers.filter(({ keys }) =>
    keys.some(({ spki }) => equalBytes(spki, claims.verifierKey.spki)),
  );
  const outcomes = candidates.map((verifier) => failed('ear', rules, claims, verifier));
  const [first] = outcomes;
  if (first === undefined) {
    const key = toHex(thumbprint(claims.verifierKey));
    const message = `no admitted verifier has key ${key}`;
    return [{ code: 'VERIFIER_UNTRUSTED', check: 'ear.verifier', message }];
  }
  // One key may be named under several rules: any of them may admit the result.
  return outcomes.find((failures) => failures.length === 0) ?? first;
}

/** Everything that the claims lack for this level. */
export function lacks(
  claims: EarClaims,
  _rules: EarRules,
  level: EarLevel,
): readonly FailedCheck[] {
  return failed('ear', levelChecks, claims, level);
}
