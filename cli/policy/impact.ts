import { toHex } from '#core/bytes.js';
import { type Access, changeOf, noAccess, reasonsOf, refusalOf } from '#core/keying/access.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import { appraise } from '#core/rats/appraise.js';
import type { FailedCheck } from '#core/rats/attestation-result.js';
import type { VerifiedEvidence } from '#core/rats/verify.js';
import type { PolicyImpact } from '#gen/cvmp/v1/policy_pb.js';
import { type Json, type Output, table } from '../terminal/output.js';

/** What a version would change for one piece of evidence, or for one key. */
export interface ImpactRow {
  /** Evidence file, CVM or KeyID. */
  readonly who: string;
  readonly change: string;
  /** "level 3", "refused POLICY_CHIP", "floor 2". */
  readonly before: string;
  readonly after: string;
  /** Check by check. */
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
}

/** What evidence has under a policy; undefined: there is none. */
function accessOf(
  evidence: Pick<VerifiedEvidence, 'scheme' | 'claims'>,
  policy: KeyingPolicy | undefined,
): Access {
  if (policy === undefined) return noAccess;
  const { appraisal, levels, svnFloor } = policy;
  const { level, failures } = appraise(evidence, { ...appraisal, levels });
  return { level, failures, svnFloor, code: undefined };
}

function accessText(access: Access): string {
  const code = refusalOf(access);
  return code === undefined ? `level ${access.level}` : `refused ${code}`;
}

function checkText({ code, check, message }: FailedCheck) {
  return { code, message: `${check}: ${message}` };
}

/** Appraises recorded evidence by both versions. */
export function evidenceRow(
  who: string,
  evidence: Pick<VerifiedEvidence, 'scheme' | 'claims'>,
  before: KeyingPolicy | undefined,
  after: KeyingPolicy,
): ImpactRow {
  const [was, will] = [accessOf(evidence, before), accessOf(evidence, after)];
  const change = changeOf(was, will);
  const reasons = reasonsOf(change === 'gains' && before !== undefined ? was : will);
  return {
    who,
    change,
    before: accessText(was),
    after: accessText(will),
    reasons: reasons.map(checkText),
  };
}

/** What the Key Server says of its open sessions and keys. */
export function serverRows({ agents, keys }: PolicyImpact): readonly ImpactRow[] {
  const level = (n: number, refused: boolean) => (refused ? 'refused' : `level ${n}`);
  return [
    ...agents.map(({ cvmName, change, levelBefore, levelAfter, failedChecks }) => ({
      who: cvmName,
      change,
      before: level(levelBefore, change === 'gains'),
      after: level(levelAfter, change === 'loses'),
      reasons: failedChecks.map(({ code, message }) => ({ code, message })),
    })),
    ...keys.map(({ keyId, cvmName, change, floorBefore, floorAfter }) => ({
      who: `key ${toHex(keyId)}`,
      change,
      before: `floor ${floorBefore}`,
      after: `floor ${floorAfter}`,
      reasons:
        change === 'loses'
          ? [{ code: 'POLICY_REFUSED', message: `another policy would cover ${cvmName}` }]
          : [],
    })),
  ];
}

/** Table and JSON; exit code 1 where somebody loses access. */
export function impactOutput(
  rows: readonly ImpactRow[],
  summary: { readonly text: string; readonly json: { readonly [name: string]: Json } },
): Output {
  const losing = rows.filter(({ change }) => change === 'loses').length;
  const lines = rows.map(({ who, change, before, after }) => [who, change, before, after]);
  const reasons = rows.flatMap(({ who, reasons: list }) =>
    list.map(({ code, message }) => `  ${who}: ${code} ${message}`),
  );
  const parts = [
    ...(rows.length === 0 ? [] : [table(['WHO', 'CHANGE', 'BEFORE', 'AFTER'], lines)]),
    ...(reasons.length === 0 ? [] : [['why:', ...reasons].join('\n')]),
    summary.text,
  ];
  return {
    json: {
      ...summary.json,
      losing,
      changes: rows.map(({ reasons: list, ...row }) => ({
        ...row,
        reasons: list.map(({ code, message }) => ({ code, message })),
      })),
    },
    text: parts.join('\n'),
    exitCode: losing > 0 ? 1 : 0,
  };
}
