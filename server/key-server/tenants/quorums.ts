import { toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { demandQuorum, type QuorumRule } from '#core/cose/quorum.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import { policyType } from '#wire/signed-policy.js';
import type { StoredPolicy } from '../release/contract.js';
import { takesFrom } from '../release/tenant-policies.js';

/**
 * Who must have signed a policy beside its tenant's key: the quorum of the version before it, so that
 * a quorum is only changed by itself; its own, so that nobody sets one that cannot be met; those of
 * policies that it takes the name of a CVM from; and who must sign for destroying keys, where that
 * becomes easier: or a policy would be the way around them.
 * @param current the version in force; undefined: this is the first
 * @param others the tenant's other policies
 * @throws CvmpError QUORUM, SIGNATURE_INVALID
 */
export async function demandSigners(
  { policy, signed }: StoredPolicy,
  current: KeyingPolicy | undefined,
  others: readonly KeyingPolicy[],
): Promise<void> {
  const guards = [current, policy, ...others.filter((other) => takesFrom(policy, other))];
  const needed = guards.map((guard) => guard?.quorums.setPolicy);
  if (current !== undefined && easesDestruction(current, policy)) {
    needed.push(current.quorums.destroyKey);
  }
  for (const quorum of needed) {
    if (quorum !== undefined) await demandQuorum(signed, policyType, quorum);
  }
}

/** Whether keys may be destroyed by others, or sooner, than before. */
function easesDestruction(before: KeyingPolicy, after: KeyingPolicy): boolean {
  const sooner = after.destroyDelaySeconds < before.destroyDelaySeconds;
  return sooner || nameOf(before.quorums.destroyKey) !== nameOf(after.quorums.destroyKey);
}

function nameOf(rule: QuorumRule | undefined): string {
  if (rule === undefined) return '';
  const signers = rule.signers.map((key) => toHex(thumbprint(key))).sort();
  return `${rule.threshold} of ${signers.join(' ')}`;
}
