import { toHex } from '#core/bytes.js';
import { decodeCoseKey, type EcPublicKey, thumbprint } from '#core/cose/key.js';
import { demandQuorum, type QuorumRule } from '#core/cose/quorum.js';
import { CvmpError } from '#core/errors.js';
import type { KeyingPolicy, KeyRules, SvnLevel } from '#core/keying/policy.js';
import { checkPolicy, type KnownFormats } from '#core/keying/policy-rules.js';
import { schemes } from '#core/schemes.js';
import type { KeyRules as KeyRulesMessage, Quorum, SetKeyPolicy } from '#gen/cvmp/v1/policy_pb.js';
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
const destroyDelaySecondsDefault = 604_800;

/**
 * Reads a policy from the bytes that its tenant signed, and checks it by itself. Its place in the
 * chain of versions is not looked at, nor who signed it beside the tenant's key.
 * @param signed COSE_Sign1 or COSE_Sign of type {@link policyType}; its payload is a serialised
 *   SetKeyPolicy
 * @param tenantKeys its signing key; of a stored policy also the earlier ones
 * @throws CvmpError SIGNATURE_INVALID, QUORUM (none of the keys signed), MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL,
 *   INVALID_FIELD, POLICY_INVALID, UNSUPPORTED_EVIDENCE
 */
export async function readSignedPolicy(
  signed: Uint8Array,
  tenantKeys: readonly EcPublicKey[],
): Promise<KeyingPolicy> {
  const { payload } = await demandQuorum(signed, policyType, {
    signers: tenantKeys,
    threshold: 1,
  });
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
    reattest: message.reattest,
    destroyDelaySeconds: message.destroyDelaySeconds || destroyDelaySecondsDefault,
    quorums: {
      setPolicy: quorumOf(message.quorums?.setPolicy, 'policy.quorums.set_policy'),
      destroyKey: quorumOf(message.quorums?.destroyKey, 'policy.quorums.destroy_key'),
    },
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
    singleInstance: message?.singleInstance ?? false,
  };
}

/** @throws CvmpError INVALID_FIELD, POLICY_INVALID */
function quorumOf(message: Quorum | undefined, field: string): QuorumRule | undefined {
  if (message === undefined) return undefined;
  const signers = message.signers.map((bytes, i) => signerOf(bytes, `${field}.signers[${i}]`));
  const names = new Set(signers.map((key) => toHex(thumbprint(key))));
  if (names.size < signers.length) {
    throw new CvmpError('POLICY_INVALID', `${field}.signers names one twice`, {
      field: `${field}.signers`,
    });
  }
  if (message.threshold > signers.length) {
    const what = `${field}.threshold is more than the ${signers.length} signers`;
    throw new CvmpError('POLICY_INVALID', what, { field: `${field}.threshold` });
  }
  return { signers, threshold: message.threshold };
}

function signerOf(bytes: Uint8Array, field: string): EcPublicKey {
  try {
    return decodeCoseKey(bytes, field);
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    throw new CvmpError('INVALID_FIELD', cause.message, { cause, field });
  }
}

function versionOf(version: bigint): number {
  const number = Number(version);
  if (Number.isSafeInteger(number)) return number;
  throw new CvmpError('INVALID_FIELD', 'policy.version is beyond 2^53', {
    field: 'policy.version',
  });
}
