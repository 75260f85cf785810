import type { KeyingPolicy } from './policy.js';

/**
 * The level of an agent: the largest n for which the rules of levels 1 to n all hold
 * (protocol.md s.6.4); 0 where not even level 1 does.
 * @param format evidence format of the claims ("snp")
 * @param holds whether the verified claims satisfy a level's rule of that format
 */
export function provenLevel(
  policy: Pick<KeyingPolicy, 'levels'>,
  format: string,
  holds: (rule: unknown) => boolean,
): number {
  let proven = 0;
  for (const level of policy.levels) {
    const rule = level.formats.get(format);
    if (rule === undefined || !holds(rule)) break;
    proven = level.n;
  }
  return proven;
}
