import { equalBytes } from '../bytes.js';
import { CvmpError, type ErrorCode } from '../errors.js';
import type { KeyRecord } from './key-record.js';
import { nextState } from './lifecycle.js';
import type { KeyingPolicy, KeyPurpose } from './policy.js';

/**
 * The rules of protocol.md s.6.4 (3) to (6) and the invariants I1 to I4 of s.6.9, as pure
 * functions. Each takes the policy now in force and the level now proven; a refusal throws.
 */
export interface Proven {
  readonly policy: KeyingPolicy;
  /** Level that the evidence proves under this policy; 0: none. */
  readonly level: number;
}

/** Which Security Key may leave, and the key's marks as they then stand. */
export interface Release {
  readonly svn: number;
  readonly svnFloor: number;
  readonly svnRetired: number;
  /** The disk should be moved to the key of another SVN. */
  readonly rekeyAdvised: boolean;
}

function refuse(code: ErrorCode, what: string, field?: string): never {
  throw new CvmpError(code, what, field === undefined ? {} : { field });
}

/** The floor now in force: the tenant's policy raises it too (s.6.4 (6)), at once. */
export function effectiveFloor(
  record: Pick<KeyRecord, 'svnFloor'>,
  policy: Pick<KeyingPolicy, 'svnFloor'>,
): number {
  return Math.max(record.svnFloor, policy.svnFloor);
}

/** @throws CvmpError POLICY_EXPIRED. @param now milliseconds since the epoch */
export function checkValidity(policy: KeyingPolicy, now: number): void {
  const { notBefore, notAfter } = policy;
  if (notBefore !== undefined && now < notBefore) {
    refuse('POLICY_EXPIRED', `policy ${policy.policyId} is not valid yet`);
  }
  if (notAfter !== undefined && now >= notAfter) {
    refuse('POLICY_EXPIRED', `policy ${policy.policyId} is no longer valid`);
  }
}

export interface NewKey {
  readonly purpose: KeyPurpose;
  /** undefined: the policy's floor. */
  readonly svn: number | undefined;
}

/**
 * KeyAlloc of a new key: the SVN that becomes its floor.
 * @param keys number of keys under this policy now, destroyed ones not counted
 * @throws CvmpError SVN_BELOW_FLOOR, SVN_ABOVE_LEVEL, SVN_NOT_INCREASING, POLICY_REFUSED, QUOTA
 */
export function allocate({ policy, level }: Proven, request: NewKey, keys: number): Release {
  const { purposes, keysMax } = policy.keyRules;
  if (!purposes.includes(request.purpose)) {
    refuse('POLICY_REFUSED', `policy admits no key for ${request.purpose}`, 'purpose');
  }
  const svn = chosenSvn({ policy, level }, policy.svnFloor, request.svn);
  if (keys >= keysMax) refuse('QUOTA', `policy ${policy.policyId} has its ${keysMax} keys`);
  return released(policy, level, svn, svn, svn);
}

/**
 * KeyAlloc naming an existing key (draft s.3.3.4): a Security Key for `svn` from the same root key;
 * the floor rises to it.
 * @throws CvmpError SVN_BELOW_FLOOR, SVN_ABOVE_LEVEL, SVN_NOT_INCREASING, POLICY_REFUSED, KEY_*
 */
export function reallocate(
  record: KeyRecord,
  { policy, level }: Proven,
  svn: number | undefined,
): { readonly next: KeyRecord; readonly release: Release } {
  const state = nextState(record.state, 'reallocate');
  const floor = effectiveFloor(record, policy);
  const chosen = chosenSvn({ policy, level }, floor, svn);
  if (chosen > floor) checkMayRaise(policy);
  return {
    next: { ...record, state, svnFloor: chosen },
    release: released(policy, level, chosen, chosen, record.svnRetired),
  };
}

/**
 * KeyAcquire (s.6.4 (4)): an agent at or above the floor gets any SVN from `retired` up to its own
 * level, older ones too.
 * @param svn undefined: the floor, so that every eligible agent gets the same key
 * @throws CvmpError SVN_BELOW_FLOOR, SVN_ABOVE_LEVEL, KEY_RETIRED, KEY_*
 */
export function acquire(
  record: KeyRecord,
  { policy, level }: Proven,
  svn: number | undefined,
): Release {
  nextState(record.state, 'acquire');
  return servedSvn(record, { policy, level }, svn);
}

/**
 * KeyConfirm: the agent holds the Security Key of `svn` and uses it; the key becomes active.
 * @param kcv as the agent has it; @param expected key check value of that Security Key
 * @throws CvmpError KCV_MISMATCH
 */
export function confirm(record: KeyRecord, kcv: Uint8Array, expected: Uint8Array): KeyRecord {
  const state = nextState(record.state, 'confirm');
  if (!equalBytes(kcv, expected)) {
    refuse('KCV_MISMATCH', 'the key check value is not that of this Security Key', 'kcv');
  }
  return { ...record, state };
}

/**
 * Whether the agent could have the Security Key that it confirms; @throws as {@link acquire}.
 */
export function confirmable(record: KeyRecord, proven: Proven, svn: number): Release {
  nextState(record.state, 'confirm');
  return servedSvn(record, proven, svn);
}

export interface Raise {
  readonly targetSvn: number;
  /** Refused unless this is the floor now. */
  readonly expectedFloor: number | undefined;
  /** Serve no SVN below this any more. */
  readonly retireBelow: number | undefined;
}

/**
 * KeyUpdate (s.6.4 (5)): floor < target <= level, so that nobody locks himself out; target equal to
 * the floor changes nothing but `retired`. A `retireBelow` already reached changes nothing.
 * @throws CvmpError SVN_BELOW_FLOOR, CAS_MISMATCH, SVN_NOT_INCREASING, SVN_ABOVE_LEVEL,
 *   POLICY_REFUSED, INVALID_FIELD, KEY_*
 */
export function update(
  record: KeyRecord,
  { policy, level }: Proven,
  raise: Raise,
): { readonly next: KeyRecord; readonly oldFloor: number; readonly changed: boolean } {
  const state = nextState(record.state, 'update');
  const floor = effectiveFloor(record, policy);
  checkAtFloor(level, floor);
  const { targetSvn, expectedFloor } = raise;
  if (expectedFloor !== undefined && expectedFloor !== floor) {
    refuse('CAS_MISMATCH', `the floor is ${floor}, not ${expectedFloor}`, 'expected_floor');
  }
  if (targetSvn < floor) {
    refuse('SVN_NOT_INCREASING', `the floor is ${floor}, above ${targetSvn}`, 'target_svn');
  }
  if (targetSvn > level) {
    refuse('SVN_ABOVE_LEVEL', `the level is ${level}, below ${targetSvn}`, 'target_svn');
  }
  if (targetSvn > floor) checkMayRaise(policy);
  const retireBelow = raise.retireBelow ?? 0;
  if (retireBelow > targetSvn) {
    refuse('INVALID_FIELD', `retire_below is above the floor ${targetSvn}`, 'retire_below');
  }
  const svnRetired = Math.max(record.svnRetired, retireBelow);
  return {
    next: { ...record, state, svnFloor: targetSvn, svnRetired },
    oldFloor: floor,
    changed: targetSvn > floor || svnRetired > record.svnRetired,
  };
}

function checkAtFloor(level: number, floor: number): void {
  if (level < floor) {
    refuse('SVN_BELOW_FLOOR', `the level is ${level}, below the floor ${floor}`);
  }
}

function checkMayRaise(policy: KeyingPolicy): void {
  if (policy.keyRules.tenantOnlyRaises) {
    refuse('POLICY_REFUSED', 'only the tenant raises floors under this policy');
  }
}

/** The SVN of an allocation: the floor unless asked otherwise, within floor and level. */
function chosenSvn({ level }: Proven, floor: number, asked: number | undefined): number {
  checkAtFloor(level, floor);
  const svn = asked ?? floor;
  if (svn < floor) refuse('SVN_NOT_INCREASING', `the floor is ${floor}, above ${svn}`, 'svn');
  if (svn > level) refuse('SVN_ABOVE_LEVEL', `the level is ${level}, below ${svn}`, 'svn');
  return svn;
}

function servedSvn(
  record: KeyRecord,
  { policy, level }: Proven,
  asked: number | undefined,
): Release {
  const floor = effectiveFloor(record, policy);
  checkAtFloor(level, floor);
  const svn = asked ?? floor;
  if (svn < record.svnRetired) {
    refuse(
      'KEY_RETIRED',
      `SVN ${svn} is retired; ${record.svnRetired} is the lowest served`,
      'svn',
    );
  }
  if (svn > level) refuse('SVN_ABOVE_LEVEL', `the level is ${level}, below ${svn}`, 'svn');
  return released(policy, level, svn, floor, record.svnRetired);
}

function released(
  policy: KeyingPolicy,
  level: number,
  svn: number,
  svnFloor: number,
  svnRetired: number,
): Release {
  const mayRaise = level > svnFloor && !policy.keyRules.tenantOnlyRaises;
  return { svn, svnFloor, svnRetired, rekeyAdvised: svnFloor > svn || mayRaise };
}
