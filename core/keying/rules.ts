import { equalBytes } from '../bytes.js';
import { CvmpError, type ErrorCode } from '../errors.js';
import type { KeyRecord, RootEpoch } from './key-record.js';
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
  /** Generation of the root key. */
  readonly epoch: number;
  readonly svnFloor: number;
  readonly svnRetired: number;
  /** The disk should be moved to the key of another SVN or epoch. */
  readonly rekeyAdvised: boolean;
  /** SVN that it should be moved to then: the highest that this agent may make the floor. */
  readonly rekeySvn: number;
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
  const marks = { epoch: 1, compromisedEpoch: 0, svnRetired: svn };
  return released({ policy, level }, marks, { svn, epoch: 1 }, svn);
}

/**
 * KeyAlloc naming an existing key (draft s.3.3.4): a Security Key for `svn` from its newest root
 * key; the floor rises to it.
 * @throws CvmpError SVN_BELOW_FLOOR, SVN_ABOVE_LEVEL, SVN_NOT_INCREASING, POLICY_REFUSED, KEY_*
 */
export function reallocate(
  record: KeyRecord,
  { policy, level }: Proven,
  svn: number | undefined,
): { readonly next: KeyRecord; readonly release: Release } {
  const state = nextState(record.state, 'reallocate');
  if (record.compromisedEpoch >= record.epoch) {
    refuse('KEY_COMPROMISED', `the root key of epoch ${record.epoch} is marked compromised`);
  }
  const floor = effectiveFloor(record, policy);
  const chosen = chosenSvn({ policy, level }, floor, svn);
  if (chosen > floor) checkMayRaise(policy);
  return {
    next: { ...record, state, svnFloor: chosen },
    release: released({ policy, level }, record, { svn: chosen, epoch: record.epoch }, chosen),
  };
}

/**
 * KeyAcquire (s.6.4 (4)): an agent at or above the floor gets any SVN from `retired` up to its own
 * level, older ones too, of every epoch that is not retired.
 * @param svn undefined: the floor, so that every eligible agent gets the same key
 * @param epoch undefined: the newest
 * @throws CvmpError SVN_BELOW_FLOOR, SVN_ABOVE_LEVEL, KEY_RETIRED, NOT_FOUND (no such epoch), KEY_*
 */
export function acquire(
  record: KeyRecord,
  proven: Proven,
  svn: number | undefined,
  epoch?: number,
): Release {
  nextState(record.state, 'acquire');
  return served(record, proven, svn, epoch);
}

/**
 * Whether the agent could have the Security Key that it confirms; @throws as {@link acquire}.
 */
export function confirmable(
  record: KeyRecord,
  proven: Proven,
  svn: number,
  epoch?: number,
): Release {
  nextState(record.state, 'confirm');
  return served(record, proven, svn, epoch);
}

/**
 * KeyConfirm: the agent holds the Security Key and uses it; its epoch is confirmed, the key active.
 * @param kcv as the agent has it; @param expected key check value of that Security Key
 * @returns the same record where it was confirmed before
 * @throws CvmpError KCV_MISMATCH
 */
export function confirm(
  record: KeyRecord,
  kcv: Uint8Array,
  expected: Uint8Array,
  { epoch, now }: { readonly epoch: number; readonly now: number },
): KeyRecord {
  const state = nextState(record.state, 'confirm');
  if (!equalBytes(kcv, expected)) {
    refuse('KCV_MISMATCH', 'the key check value is not that of this Security Key', 'kcv');
  }
  const known = state === record.state && rootOf(record, epoch).confirmed > 0;
  if (known) return record;
  const confirmed = Math.max(now, 1);
  const roots = record.roots.map((r) =>
    r.epoch === epoch && r.confirmed === 0 ? { ...r, confirmed } : r,
  );
  if (state === record.state) return { ...record, roots };
  const { revision } = record;
  return {
    ...record,
    roots,
    state,
    revision: revision + 1,
    stateSince: now,
    activated: confirmed,
  };
}

export interface Raise {
  readonly targetSvn: number;
  /** Refused unless this is the floor now. */
  readonly expectedFloor: number | undefined;
  /** Serve no SVN below this any more. */
  readonly retireBelow: number | undefined;
  /** Serve no epoch below this any more, where the tenant lets agents say so. */
  readonly retireEpochsBelow?: number | undefined;
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
  const roots = rootsLeft(record, raise.retireEpochsBelow ?? 0);
  return {
    next: { ...record, state, svnFloor: targetSvn, svnRetired, roots },
    oldFloor: floor,
    changed: targetSvn > floor || svnRetired > record.svnRetired || roots !== record.roots,
  };
}

/** What an agent that moved its disk may retire: older epochs, where the tenant lets it. */
function rootsLeft(record: KeyRecord, below: number): readonly RootEpoch[] {
  const { roots, agentsRetireEpochs } = record;
  if (!agentsRetireEpochs || below <= (roots[0]?.epoch ?? below)) return roots;
  if (rootOf(record, below).confirmed === 0) {
    const field = 'retire_epochs_below';
    refuse('KEY_STATE', `epoch ${below} is not confirmed: older ones stay`, field);
  }
  return roots.filter(({ epoch }) => epoch >= below);
}

/**
 * The root key of an epoch that is served.
 * @throws CvmpError KEY_RETIRED, NOT_FOUND: no such epoch was ever
 */
export function rootOf(record: KeyRecord, epoch: number): RootEpoch {
  const { roots } = record;
  // Nearly always the newest.
  const newest = roots[roots.length - 1];
  if (newest?.epoch === epoch) return newest;
  const found = roots.find((root) => root.epoch === epoch);
  if (found !== undefined) return found;
  if (epoch > record.epoch || epoch < 1) refuse('NOT_FOUND', `there is no epoch ${epoch}`, 'epoch');
  return refuse('KEY_RETIRED', `epoch ${epoch} is retired`, 'epoch');
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

function served(
  record: KeyRecord,
  { policy, level }: Proven,
  asked: number | undefined,
  epoch = record.epoch,
): Release {
  const floor = effectiveFloor(record, policy);
  checkAtFloor(level, floor);
  rootOf(record, epoch);
  const svn = asked ?? floor;
  if (svn < record.svnRetired) {
    refuse(
      'KEY_RETIRED',
      `SVN ${svn} is retired; ${record.svnRetired} is the lowest served`,
      'svn',
    );
  }
  if (svn > level) refuse('SVN_ABOVE_LEVEL', `the level is ${level}, below ${svn}`, 'svn');
  return released({ policy, level }, record, { svn, epoch }, floor);
}

function released(
  { policy, level }: Proven,
  marks: Pick<KeyRecord, 'epoch' | 'compromisedEpoch' | 'svnRetired'>,
  { svn, epoch }: { readonly svn: number; readonly epoch: number },
  svnFloor: number,
): Release {
  const rekeySvn = policy.keyRules.tenantOnlyRaises ? svnFloor : level;
  const older = epoch < marks.epoch || epoch <= marks.compromisedEpoch;
  const rekeyAdvised = svnFloor > svn || rekeySvn > svnFloor || older;
  const { svnRetired } = marks;
  return { svn, epoch, svnFloor, svnRetired, rekeyAdvised, rekeySvn };
}
