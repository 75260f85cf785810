import type { FailedCheck } from '../rats/attestation-result.js';
import { snpScheme } from '../snp/scheme.js';
import { appraiseBoot, bootLacks } from '../tpm/appraise.js';
import { defaultBootRules } from '../tpm/rules.js';
import type { SvsmClaims } from './claims.js';
import type { SvsmLevel, SvsmRules } from './rules.js';

/** Every rule that the claims break. */
export function appraise(claims: SvsmClaims, rules: SvsmRules): readonly FailedCheck[] {
  const { hardware, vtpm } = claims;
  const boot = rules.boot && vtpm ? appraiseBoot('svsm', vtpm.measurements, rules.boot) : [];
  return [
    ...snpScheme.appraise(hardware, rules.hardware),
    ...servicesBeyond(claims, rules),
    ...(rules.boot === undefined ? [] : quoteMissing(claims)),
    ...boot,
  ];
}

/** Everything that the claims lack for this level. */
export function lacks(
  claims: SvsmClaims,
  rules: SvsmRules,
  level: SvsmLevel,
): readonly FailedCheck[] {
  const { hardware, vtpm } = claims;
  const gap = [...snpScheme.lacks(hardware, rules.hardware, level.hardware)];
  if (level.boot === undefined) return gap;
  if (vtpm === undefined) return [...gap, ...quoteMissing(claims)];
  // Without rules no boot is admitted, and so none is of a level.
  const boot = rules.boot ?? defaultBootRules;
  return [...gap, ...bootLacks('svsm', vtpm.measurements, boot, level.boot)];
}

/** A service that the tenant did not count on is code at VMPL 0 that it did not count on. */
function servicesBeyond({ services }: SvsmClaims, rules: SvsmRules): readonly FailedCheck[] {
  if (rules.services.length === 0) return [];
  const beyond = services.filter((guid) => !rules.services.includes(guid));
  if (beyond.length === 0) return [];
  const message = `the SVSM offers ${beyond.join(', ')}, which is not admitted`;
  return [{ code: 'POLICY_GUEST', check: 'svsm.services', message }];
}

function quoteMissing({ vtpm }: SvsmClaims): readonly FailedCheck[] {
  if (vtpm !== undefined) return [];
  const message = "the evidence has no quote of the SVSM's vTPM";
  return [{ code: 'POLICY_MEASUREMENT', check: 'svsm.quote', message }];
}
