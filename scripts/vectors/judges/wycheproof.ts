import { toHex } from '#core/bytes.js';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type JsonObject,
} from '../judge.js';
import { type Primitive, primitive } from './wycheproof-primitives.js';

/**
 * Wycheproof: each test is `valid` (must give the stated result), `invalid` (must be
 * refused) or `acceptable` (either, but never a wrong result).
 */
export async function judgeWycheproof(folder: CaseFolder): Promise<CaseVerdict[]> {
  const verdicts: CaseVerdict[] = [];
  const files = asObject(folder.expected.files, 'files');
  for (const file of Object.keys(files)) {
    if (!folder.has(file)) {
      verdicts.push({ name: file, expected: 'a file', actual: 'missing', asExpected: false });
      continue;
    }
    const suite = asObject(folder.readJson(file), file);
    for (const group of asList(suite.testGroups, 'testGroups')) {
      verdicts.push(...(await judgeGroup(file, suite, asObject(group, 'testGroup'))));
    }
    verdicts.push(...countAgrees(file, asObject(files[file], file), suite));
  }
  return verdicts;
}

/** The number of tests that `expected.json` states; a cut file would otherwise pass. */
function countAgrees(file: string, stated: JsonObject, suite: JsonObject): CaseVerdict[] {
  const expected = stated.number_of_tests;
  if (expected === undefined) return [];
  const actual = asList(suite.testGroups, 'testGroups')
    .map((group) => asList(asObject(group, 'testGroup').tests, 'tests').length)
    .reduce((sum, n) => sum + n, 0);
  return actual === expected
    ? []
    : [{ name: file, expected: `${expected} tests`, actual: `${actual}`, asExpected: false }];
}

async function judgeGroup(
  file: string,
  suite: JsonObject,
  group: JsonObject,
): Promise<CaseVerdict[]> {
  const algorithm = asString(suite.algorithm, 'algorithm');
  const run = primitive(asString(group.type, 'type'), algorithm, group);
  const verdicts: CaseVerdict[] = [];
  for (const item of asList(group.tests, 'tests')) {
    const test = asObject(item, 'test');
    const name = `${file} #${String(test.tcId)}`;
    const expected = asString(test.result, 'result');
    if (run === undefined) {
      verdicts.push({ name, expected, actual: 'not judged', asExpected: undefined });
      continue;
    }
    verdicts.push(judgeTest(name, expected, await outcome(run, test)));
  }
  return verdicts;
}

type Outcome = 'right' | 'wrong' | 'refused';

/** A wrong result is one that the primitive gave without complaint: never acceptable. */
function judgeTest(name: string, expected: string, actual: Outcome): CaseVerdict {
  const good: Record<string, readonly string[]> = {
    valid: ['right'],
    invalid: ['refused'],
    acceptable: ['right', 'refused'],
  };
  return { name, expected, actual, asExpected: good[expected]?.includes(actual) ?? false };
}

async function outcome(run: Primitive, test: JsonObject): Promise<Outcome> {
  try {
    const result = await run(test);
    if (typeof result === 'boolean') return result ? 'right' : 'refused';
    return toHex(result.actual) === result.expected ? 'right' : 'wrong';
  } catch {
    return 'refused';
  }
}
