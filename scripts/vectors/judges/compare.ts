import { asObject, type CaseVerdict, type Json } from '../judge.js';

/**
 * Compares what a file says (`expected`) with what was read (`actual`), leaf by leaf. Keys that only
 * one side has are passed over: remarks on the one side, more detail on the other.
 * @returns paths of the differing leaves, and how many were compared
 */
export function differences(
  expected: Json,
  actual: Json | undefined,
  path = '',
): { differing: string[]; compared: number } {
  if (expected === null || typeof expected !== 'object' || Array.isArray(expected)) {
    const same = JSON.stringify(expected) === JSON.stringify(actual);
    const found = JSON.stringify(actual);
    return { differing: same ? [] : [`${path} is ${found}`], compared: 1 };
  }
  const found = asObject(actual, path);
  const differing: string[] = [];
  let compared = 0;
  for (const [key, value] of Object.entries(expected)) {
    if (!Object.hasOwn(found, key)) continue;
    const inner = differences(value, found[key], path === '' ? key : `${path}.${key}`);
    differing.push(...inner.differing);
    compared += inner.compared;
  }
  return { differing, compared };
}

/** A case that is as expected where every compared leaf is equal and there was one. */
export function comparison(name: string, expected: Json, actual: Json): CaseVerdict {
  const { differing, compared } = differences(expected, actual);
  return {
    name,
    expected: `${compared} equal fields`,
    actual: differing.length === 0 ? `${compared} equal fields` : differing.join('; '),
    asExpected: compared > 0 && differing.length === 0,
  };
}
