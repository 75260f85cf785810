import type { ErrorCode } from '../errors.js';
import type { FailedCheck } from '../rats/attestation-result.js';

/** What somebody has under a policy. */
export interface Access {
  /** Level that the evidence proves; 0: none. */
  readonly level: number;
  /** Lowest level that is served. */
  readonly svnFloor: number;
  /** Every check that failed, where the evidence is refused. */
  readonly failures: readonly FailedCheck[];
  /** Why nothing is released whatever the evidence proves; undefined: nothing stands against it. */
  readonly code: ErrorCode | undefined;
}

/** Nobody had anything before the first version. */
export const noAccess: Access = { level: 0, svnFloor: 0, failures: [], code: 'NO_POLICY' };

/** How a new version changes what somebody has. */
export type AccessChange =
  | 'loses'
  | 'gains'
  | 'lower level'
  | 'higher level'
  | 'same'
  | 'no access';

/** What requests are refused with; undefined: they are not. */
export function refusalOf({ level, svnFloor, failures, code }: Access): ErrorCode | undefined {
  if (code !== undefined) return code;
  const [first] = failures;
  if (first !== undefined) return first.code;
  return level < svnFloor ? 'SVN_BELOW_FLOOR' : undefined;
}

/** Why, check by check; nothing where there is access. */
export function reasonsOf(access: Access): readonly FailedCheck[] {
  const { failures, level, svnFloor } = access;
  const code = refusalOf(access);
  if (code === undefined || failures.length > 0) return failures;
  const message =
    code === 'SVN_BELOW_FLOOR'
      ? `the level is ${level}, below the floor ${svnFloor}`
      : 'nothing is released, whatever the evidence proves';
  return [{ code, check: 'policy', message }];
}

/** Compares what somebody has before and after. */
export function changeOf(before: Access, after: Access): AccessChange {
  const [had, has] = [before, after].map((access) => refusalOf(access) === undefined);
  if (!had && !has) return 'no access';
  if (had !== has) return has ? 'gains' : 'loses';
  if (after.level === before.level) return 'same';
  return after.level < before.level ? 'lower level' : 'higher level';
}
