import { appraise } from '#core/rats/appraise.js';
import type { AttestationResult, FailedCheck } from '#core/rats/attestation-result.js';
import type { VerifiedEvidence } from '#core/rats/verify.js';
import type { CommandContext } from '../command.js';
import { checkWritten, parsePolicy } from '../policy/policy-file.js';
import type { Json } from '../terminal/output.js';
import { readTypedText } from '../terminal/typed.js';

/**
 * Appraises verified evidence by a policy file, as the Key Server would.
 * @throws CvmpError USAGE, and INVALID_FIELD, POLICY_INVALID where the policy is wrong
 */
export async function appraiseByFile(
  verified: Pick<VerifiedEvidence, 'scheme' | 'claims'>,
  policyFile: string,
  context: CommandContext,
): Promise<AttestationResult> {
  const written = parsePolicy(await readTypedText(context, policyFile), policyFile);
  const { appraisal, levels } = checkWritten(written);
  return appraise(verified, { ...appraisal, levels });
}

/** All that a policy refused. */
export function appraisalJson({ accepted, level, failures, nextLevel }: AttestationResult): Json {
  return {
    accepted,
    level,
    failures: failures.map(checkJson),
    next_level:
      nextLevel === undefined
        ? null
        : { n: nextLevel.n, failures: nextLevel.failures.map(checkJson) },
  };
}

/** One failed check. */
export function checkJson({ code, check, message }: FailedCheck): { readonly [k: string]: string } {
  return { code, check, message };
}

/** Lines: the level reached, or every check that failed. */
export function appraisalText({ accepted, level, failures, nextLevel }: AttestationResult): string {
  if (!accepted) {
    const lines = failures.map(({ code, check, message }) => `  ${code} ${check}: ${message}`);
    return ['the policy refuses it:', ...lines].join('\n');
  }
  const missing = nextLevel?.failures.map(({ message }) => message).join('; ');
  const gap = nextLevel === undefined ? '' : `; level ${nextLevel.n} lacks: ${missing}`;
  return `the policy admits it at SVN level ${level}${gap}`;
}
