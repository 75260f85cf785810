import { CvmpError } from '#core/errors.js';
import { leasedTo } from '#core/keying/instance-lease.js';
import type { KeyRecord } from '#core/keying/key-record.js';
import { effectiveFloor } from '#core/keying/rules.js';
import type { TenantKeys } from '../store/tenant-keys.js';
import type * as contract from './contract.js';
import type { KeyCounts } from './key-counts.js';
import { type Held, unchanged } from './records.js';
import type { Outcome } from './requests.js';
import type { Scene } from './scene.js';
import type { TenantPolicies } from './tenant-policies.js';

/** A request as it came. */
export interface Asked {
  readonly operation: contract.AuditOperation;
  readonly grant: contract.SessionGrant;
  readonly requestId: Uint8Array;
  readonly keyId: Uint8Array | undefined;
  readonly svn: number | undefined;
  readonly reason?: contract.AcquireRequest['reason'];
  /** undefined: it changes nothing that a repetition could change again. */
  readonly digest: Uint8Array | undefined;
  readonly told: contract.Told | undefined;
}

/** What was read for a request. */
export interface Loaded {
  readonly own: TenantPolicies;
  readonly keys: TenantKeys;
  /** What became of the same request before. */
  readonly outcome: Outcome | undefined;
  /** The key that it names, if there is one. */
  readonly held: Held<KeyRecord> | undefined;
}

/** A request with all that it is decided on. */
export interface Matter extends Scene, Pick<Loaded, 'outcome' | 'held'> {
  readonly asked: Asked;
  readonly counts: Held<KeyCounts>;
}

/** What a decision that writes nothing was built on. */
export function basis(matter: Matter, held: Held<KeyRecord>) {
  return [unchanged(matter.policies.index), unchanged(held)];
}

/** The key once this session's instance has it. @throws CvmpError INSTANCE_CONFLICT, POLICY_REFUSED */
export function leased({ proven, grant, now }: Matter, record: KeyRecord): KeyRecord {
  return leasedTo(record, proven.policy.keyRules, grant, now);
}

/**
 * The key that is named. Unknown and foreign ids are not told apart.
 * @throws CvmpError NOT_FOUND, POLICY_REFUSED: levels of another policy number other things
 */
export function existing({ held, policy, event }: Matter): Held<KeyRecord> {
  if (held === undefined)
    throw new CvmpError('NOT_FOUND', 'there is no such key', { field: 'key_id' });
  if (held.value.policyId !== policy.policy.policyId) {
    const what = `the key is of policy ${held.value.policyId}, the CVM of ${policy.policy.policyId}`;
    throw new CvmpError('POLICY_REFUSED', what);
  }
  event.svnFloor = effectiveFloor(held.value, policy.policy);
  return held;
}

/** Outcome of what moves no mark. */
export function unmoved({ keyId, svnFloor, svnRetired }: KeyRecord) {
  return { keyId, oldFloor: svnFloor, newFloor: svnFloor, svnRetired };
}
