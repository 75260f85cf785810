import { demandQuorum } from '#core/cose/quorum.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import { policyType } from '#wire/signed-policy.js';
import type { StoredPolicy } from '../release/contract.js';
import { takesFrom } from '../release/tenant-policies.js';

/**
 * Who must have signed a policy beside its tenant's key: the quorum of the version before it, so that
 * a quorum is only changed by itself; its own, so that nobody sets one that cannot be met; and those
 * of policies that it takes the name of a CVM from.
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
  for (const guard of guards) {
    const quorum = guard?.quorums.setPolicy;
    if (quorum !== undefined) await demandQuorum(signed, policyType, quorum);
  }
}
