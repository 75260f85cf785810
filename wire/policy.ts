import type { EcPublicKey } from '#core/cose/key.js';
import { openSign1 } from '#core/cose/sign1.js';
import { CvmpError } from '#core/errors.js';
import type { KeyingPolicy, KeyRules, SvnLevel } from '#core/keying/policy.js';
import { checkPolicy, type KnownFormats } from '#core/keying/policy-rules.js';
import { schemes } from '#core/schemes.js';
import type { KeyRules as KeyRulesMessage, SetKeyPolicy } from '#gen/cvmp/v1/policy_pb.js';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { purposeOf } from './key.js';
import { formatLevelsOf, formatRulesOf } from './rules/formats.js';
import { momentOf } from './rules/lists.js';
import { policyType } from './signed-policy.js';
import { readMessage, validate } from './validate.js';

/** The level rules of every evidence format that there is. */
export const knownFormats: KnownFormats = new Map(
  schemes.map(({ format, levelRules }) => [format, levelRules]),
);

const keysMaxDefault = 1000;
const leaseSecondsDefault = 86_400;

/**
 * Reads a policy from the bytes that its tenant signed, and checks it by itself. Its place in the
 * chain of versions is not looked at.
 * @param signed COSE_Sign1 of type {@link policyType}; its payload is a serialised SetKeyPolicy
 * @throws CvmpError SIGNATURE_INVALID, MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL,
 *   INVALID_FIELD, POLICY_INVALID, UNSUPPORTED_EVIDENCE
 */
export async function readSignedPolicy(
  signed: Uint8Array,
  tenantKey: EcPublicKey,
): Promise<KeyingPolicy> {
  const { payload } = await openSign1(signed, tenantKey, { typ: policyType });
  return policyOf(readMessage(SetKeyPolicySchema, payload, 'policy'));
}

/**
 * A policy as core knows it, checked by itself.
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID, UNSUPPORTED_EVIDENCE, each naming the field
 */
export function policyOf(message: SetKeyPolicy): KeyingPolicy {
  validate(SetKeyPolicySchema, message, 'policy');
  const { appraisal } = message;
  const policy: KeyingPolicy = {
    tenantId: message.tenantId,
    policyId: message.policyId,
    version: versionOf(message.version),
    prevDigest: message.prevDigest.length === 0 ? undefined : message.prevDigest,
    notBefore: momentOf(message.notBefore, 'policy.not_before'),
    notAfter: momentOf(message.notAfter, 'policy.not_after'),
    cvmNames: message.cvmNames,
    appraisal: {
      allowSimulated: appraisal?.allowSimulated ?? false,
      channelBinding: 'required',
      formats: formatRulesOf(appraisal, 'policy.appraisal'),
    },
    levels: message.levels.map(levelOf),
    svnFloor: message.svnFloor,
    keyRules: keyRulesOf(message.keyRules),
  };
  checkPolicy(policy, knownFormats);
  return policy;
}

function levelOf(message: SetKeyPolicy['levels'][number], i: number): SvnLevel {
  const { n, name } = message;
  return { n, name, formats: formatLevelsOf(message, `policy.levels[${i}]`) };
}

function keyRulesOf(message: KeyRulesMessage | undefined): KeyRules {
  const purposes = message?.purposes.map(purposeOf) ?? [];
  return {
    purposes: purposes.length === 0 ? ['disk'] : purposes,
    keysMax: message?.keysMax || keysMaxDefault,
    tenantOnlyRaises: message?.tenantOnlyRaises ?? false,
    leaseSeconds: message?.leaseSeconds || leaseSecondsDefault,
  };
}

function versionOf(version: bigint): number {
  const number = Number(version);
  if (Number.isSafeInteger(number)) return number;
  throw new CvmpError('INVALID_FIELD', 'policy.version is beyond 2^53', {
    field: 'policy.version',
  });
}
