import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { checkValidity, type Proven } from '#core/keying/rules.js';
import type { Standing } from '../notices.js';
import type { TenantKeys } from '../store/tenant-keys.js';
import type { SessionGrant, StoredPolicy } from './contract.js';
import type { AuditEventDraft } from './deciding.js';
import type { TenantPolicies } from './tenant-policies.js';

/** What a request of a session is decided on: the policy now in force, not the one at its begin. */
export interface Scene {
  readonly grant: SessionGrant;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly keys: TenantKeys;
  readonly policies: TenantPolicies;
  readonly policy: StoredPolicy;
  readonly proven: Proven;
  readonly event: AuditEventDraft;
}

/** Levels of sessions under policies that came after their attestation. */
const appraised = new WeakMap<SessionGrant, { policy: StoredPolicy; level: number }>();

/**
 * @throws CvmpError NO_POLICY, POLICY_EXPIRED, REATTEST_REQUIRED, POLICY_* where the claims of the
 *   session no longer satisfy the policy
 */
export function sceneOf(
  grant: SessionGrant,
  keys: TenantKeys,
  policies: TenantPolicies,
  now: number,
  event: AuditEventDraft,
): Scene {
  const policy = inForce(grant, policies, now, event);
  const level = levelUnder(grant, policy);
  event.level = level;
  return { grant, now, keys, policies, policy, proven: { policy: policy.policy, level }, event };
}

/** The policy that covers the CVM, where it is valid and the session may still build on it. */
function inForce(
  grant: SessionGrant,
  policies: TenantPolicies,
  now: number,
  event: Pick<AuditEventDraft, 'policyDigest' | 'policyId' | 'policyVersion'>,
): StoredPolicy {
  const policy = policies.covering(grant.cvmName);
  if (policy === undefined) {
    throw new CvmpError('NO_POLICY', `no policy covers the CVM ${grant.cvmName}`);
  }
  event.policyDigest = policy.digest;
  event.policyId = policy.policy.policyId;
  event.policyVersion = policy.policy.version;
  checkValidity(policy.policy, now);
  if (isOrdered(grant.policy, policy)) {
    throw new CvmpError('REATTEST_REQUIRED', 'the tenant asks for fresh evidence');
  }
  if (now >= grant.leaseExpires) {
    throw new CvmpError('REATTEST_REQUIRED', 'the lease of this session is over');
  }
  return policy;
}

/** Whether the tenant ordered since this attestation that sessions attest again. */
function isOrdered(attested: StoredPolicy, { policy, generation }: StoredPolicy): boolean {
  return attested.policy.policyId === policy.policyId
    ? generation > attested.generation
    : policy.reattest;
}

/** What the next request of the session would be decided on. */
export function standingOf(grant: SessionGrant, policies: TenantPolicies, now: number): Standing {
  const svnFloor = policies.covering(grant.cvmName)?.policy.svnFloor ?? 0;
  try {
    const level = levelUnder(grant, inForce(grant, policies, now, {}));
    return { level, svnFloor, code: level < svnFloor ? 'SVN_BELOW_FLOOR' : undefined };
  } catch (error) {
    if (error instanceof CvmpError) return { level: 0, svnFloor, code: error.code };
    throw error;
  }
}

function levelUnder(grant: SessionGrant, policy: StoredPolicy): number {
  if (isSame(policy, grant.policy)) return grant.level;
  const known = appraised.get(grant);
  if (known !== undefined && isSame(policy, known.policy)) return known.level;
  const { level, failures } = grant.appraise(policy);
  const [first] = failures;
  if (first !== undefined) throw new CvmpError(first.code, `${first.check}: ${first.message}`);
  appraised.set(grant, { policy, level });
  return level;
}

function isSame(a: StoredPolicy, b: StoredPolicy): boolean {
  return a === b || equalBytes(a.digest, b.digest);
}
