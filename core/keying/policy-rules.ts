import { equalBytes } from '../bytes.js';
import { CvmpError, type ErrorCode } from '../errors.js';
import type { LevelRules } from '../rats/level-rules.js';
import type { KeyingPolicy } from './policy.js';

/** The level rules of every known evidence format, by name ("snp"). */
export type KnownFormats = ReadonlyMap<string, LevelRules<unknown>>;

/** Field of a format in proto/cvmp/v1/policy.proto. */
const fieldOf = (format: string) => format.replace('-', '_');

function refuse(code: ErrorCode, field: string, what: string): never {
  throw new CvmpError(code, `policy.${field} ${what}`, { field: `policy.${field}` });
}

/**
 * What a policy must hold by itself (protocol.md s.6.4 (1)).
 * @throws CvmpError POLICY_INVALID, UNSUPPORTED_EVIDENCE
 */
export function checkPolicy(policy: KeyingPolicy, formats: KnownFormats): void {
  const { notBefore, notAfter, levels } = policy;
  if (notBefore !== undefined && notAfter !== undefined && notAfter <= notBefore) {
    refuse('POLICY_INVALID', 'not_after', 'is not after not_before');
  }
  for (const [i, level] of levels.entries()) {
    if (level.n !== i + 1) {
      refuse('POLICY_INVALID', `levels[${i}].n`, `is ${level.n}, not ${i + 1}: levels are 1, 2, 3`);
    }
  }
  if (policy.svnFloor > levels.length) {
    const what = `is ${policy.svnFloor}, above the highest level ${levels.length}`;
    refuse('POLICY_INVALID', 'svn_floor', what);
  }
  if (policy.version === 1 && policy.prevDigest !== undefined) {
    refuse('POLICY_INVALID', 'prev_digest', 'must be empty in version 1');
  }
  checkFormats(policy, formats);
}

function checkFormats({ appraisal, levels }: KeyingPolicy, formats: KnownFormats): void {
  const named = new Set(appraisal.formats.keys());
  for (const level of levels) for (const format of level.formats.keys()) named.add(format);
  for (const format of named) {
    const rules = formats.get(format);
    if (rules === undefined) {
      refuse(
        'UNSUPPORTED_EVIDENCE',
        `appraisal.${fieldOf(format)}`,
        'is not a known evidence format',
      );
    }
    for (const [i, level] of levels.entries()) {
      const rule = level.formats.get(format);
      if (rule === undefined) {
        // A level that says nothing about an admitted format would be had for nothing.
        refuse(
          'POLICY_INVALID',
          `levels[${i}].${fieldOf(format)}`,
          'is missing; an empty rule is a rule',
        );
      }
      for (const lower of levels.slice(0, i)) {
        const field = rules.decreasing(lower.formats.get(format), rule);
        if (field === undefined) continue;
        const what = `is weaker than in level ${lower.n}: a level implies those below it`;
        refuse('POLICY_INVALID', `levels[${i}].${fieldOf(format)}.${field}`, what);
      }
    }
  }
}

/**
 * What the first version of a policy must hold beside {@link checkPolicy}.
 * @throws CvmpError POLICY_CHAIN
 */
export function checkFirst(policy: KeyingPolicy): void {
  if (policy.version !== 1) {
    refuse('POLICY_CHAIN', 'version', `is ${policy.version}; there is no version before it, so 1`);
  }
}

/**
 * What a next version must hold beside {@link checkPolicy}: it follows the current one and relaxes
 * no level, and the floor never falls (protocol.md s.6.4 (2), (3)). Appraisal rules may change
 * freely: they name images and chips, which come and go; but no image rises in its SVN.
 * @param currentDigest SHA-256 of the signed current version
 * @throws CvmpError POLICY_CHAIN, POLICY_NOT_TIGHTER
 */
export function checkSuccessor(
  current: KeyingPolicy,
  currentDigest: Uint8Array,
  next: KeyingPolicy,
  formats: KnownFormats,
): void {
  if (next.version !== current.version + 1) {
    const what = `is ${next.version}; the current version is ${current.version}`;
    refuse('POLICY_CHAIN', 'version', what);
  }
  if (next.prevDigest === undefined || !equalBytes(next.prevDigest, currentDigest)) {
    refuse('POLICY_CHAIN', 'prev_digest', 'is not the digest of the current version');
  }
  if (next.svnFloor < current.svnFloor) {
    const what = `is ${next.svnFloor}, below the current floor ${current.svnFloor}`;
    refuse('POLICY_NOT_TIGHTER', 'svn_floor', what);
  }
  if (next.levels.length < current.levels.length) {
    const what = `are ${next.levels.length}, fewer than the current ${current.levels.length}`;
    refuse('POLICY_NOT_TIGHTER', 'levels', what);
  }
  for (const [name, rules] of formats) {
    checkNotRelaxed(current, next, name, rules);
    checkNotPromoted(current, next, name, rules);
  }
}

/** Images that are admitted as before are of no higher SVN than before. */
function checkNotPromoted(
  current: KeyingPolicy,
  next: KeyingPolicy,
  format: string,
  rules: LevelRules<unknown>,
): void {
  const before = current.appraisal.formats.get(format);
  const after = next.appraisal.formats.get(format);
  if (before === undefined || after === undefined) return;
  const field = rules.promoted?.(before, after);
  if (field === undefined) return;
  const place = `appraisal.${fieldOf(format)}.${field}`;
  refuse('POLICY_NOT_TIGHTER', place, 'is above that of the current version for the same image');
}

/** Also of formats no longer admitted, or two versions together could relax what one may not. */
function checkNotRelaxed(
  current: KeyingPolicy,
  next: KeyingPolicy,
  format: string,
  rules: LevelRules<unknown>,
): void {
  const before = current.levels.map((level) => level.formats.get(format));
  if (before[0] === undefined) return;
  const after = next.levels.map((level) => level.formats.get(format));
  for (let n = 1; n <= before.length; n++) {
    const place = `levels[${n - 1}].${fieldOf(format)}`;
    if (after[n - 1] === undefined) {
      refuse('POLICY_NOT_TIGHTER', place, 'is missing; the current version has it');
    }
    const field = rules.relaxed(before.slice(0, n), after.slice(0, n));
    if (field === undefined) continue;
    refuse('POLICY_NOT_TIGHTER', `${place}.${field}`, 'is laxer than in the current version');
  }
}
