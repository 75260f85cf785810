import { describe, expect, it } from 'vitest';
import type { CvmpError } from '#core/errors.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import { checkFirst, checkPolicy, checkSuccessor } from '#core/keying/policy-rules.js';
import { bestCoverage } from '#core/keying/selector.js';
import { type MadeRule, madeFormats, madeLevels, madePolicy } from './made.js';

const digest = new Uint8Array(32).fill(5);

function refusal(work: () => unknown): readonly [string, string | undefined] | 'accepted' {
  try {
    work();
  } catch (error) {
    return [(error as CvmpError).code, (error as CvmpError).field];
  }
  return 'accepted';
}

describe('what a policy must hold by itself (protocol.md s.6.4 (1))', () => {
  it.each<[string, Partial<KeyingPolicy>, ReturnType<typeof refusal>]>([
    ['a sound policy', {}, 'accepted'],
    ['no validity at all', { notBefore: 5, notAfter: 5 }, ['POLICY_INVALID', 'policy.not_after']],
    ['a floor above the levels', { svnFloor: 5 }, ['POLICY_INVALID', 'policy.svn_floor']],
    [
      'a level left out',
      { levels: madeLevels({ min: 1 }, { min: 2 }).map((l) => ({ ...l, n: 2 * l.n - 1 })) },
      ['POLICY_INVALID', 'policy.levels[1].n'],
    ],
    [
      'levels out of order',
      { levels: madeLevels({}, {}).reverse() },
      ['POLICY_INVALID', 'policy.levels[0].n'],
    ],
    [
      'a level weaker than one below it',
      { levels: madeLevels({ min: 3 }, {}, { min: 2 }) },
      ['POLICY_INVALID', 'policy.levels[2].made.min'],
    ],
    ['a level that repeats the one below', { levels: madeLevels({ min: 3 }, {}) }, 'accepted'],
    [
      'a level without a rule for an admitted format',
      { levels: [...madeLevels({ min: 1 }), { n: 2, name: '', formats: new Map() }] },
      ['POLICY_INVALID', 'policy.levels[1].made'],
    ],
    [
      'a format that nobody knows',
      { appraisal: { ...madePolicy().appraisal, formats: new Map([['sgx', {}]]) } },
      ['UNSUPPORTED_EVIDENCE', 'policy.appraisal.sgx'],
    ],
    [
      'a predecessor of the first version',
      { prevDigest: digest },
      ['POLICY_INVALID', 'policy.prev_digest'],
    ],
  ])('%s', (_, changes, expected) => {
    expect(refusal(() => checkPolicy(madePolicy(changes), madeFormats))).toEqual(expected);
  });
});

describe('a next version (protocol.md s.6.4 (2), (3))', () => {
  const next = (changes: Partial<KeyingPolicy> = {}) =>
    madePolicy({ version: 2, prevDigest: digest, ...changes });
  const follow = (changes: Partial<KeyingPolicy>, current = madePolicy({ svnFloor: 2 })) =>
    refusal(() => checkSuccessor(current, digest, next({ svnFloor: 2, ...changes }), madeFormats));

  it.each<[string, Partial<KeyingPolicy>, ReturnType<typeof refusal>]>([
    ['the same rules again', {}, 'accepted'],
    ['a version left out', { version: 3 }, ['POLICY_CHAIN', 'policy.version']],
    ['the same version', { version: 1 }, ['POLICY_CHAIN', 'policy.version']],
    [
      'another predecessor',
      { prevDigest: new Uint8Array(32) },
      ['POLICY_CHAIN', 'policy.prev_digest'],
    ],
    ['no predecessor', { prevDigest: undefined }, ['POLICY_CHAIN', 'policy.prev_digest']],
    ['a higher floor', { svnFloor: 3 }, 'accepted'],
    ['a lower floor', { svnFloor: 1 }, ['POLICY_NOT_TIGHTER', 'policy.svn_floor']],
    [
      'one level more',
      { levels: madeLevels({ min: 1 }, { min: 2 }, { min: 3 }, { min: 4 }, { min: 5 }) },
      'accepted',
    ],
    [
      'one level fewer',
      { levels: madeLevels({ min: 1 }, { min: 2 }, { min: 3 }) },
      ['POLICY_NOT_TIGHTER', 'policy.levels'],
    ],
    [
      'a tighter level',
      { levels: madeLevels({ min: 1 }, { min: 3 }, { min: 3 }, { min: 4 }) },
      'accepted',
    ],
    [
      'a laxer level',
      { levels: madeLevels({ min: 1 }, { min: 2 }, { min: 2 }, { min: 4 }) },
      ['POLICY_NOT_TIGHTER', 'policy.levels[2].made.min'],
    ],
    [
      'a level that no longer says what one below it says',
      { levels: madeLevels({ min: 4 }, {}, {}, {}) },
      'accepted',
    ],
    [
      'the rules of a format gone',
      { levels: madeLevels({}, {}, {}, {}).map((l) => ({ ...l, formats: new Map() })) },
      ['POLICY_NOT_TIGHTER', 'policy.levels[0].made'],
    ],
    [
      'other images admitted',
      {
        appraisal: {
          ...madePolicy().appraisal,
          formats: new Map<string, MadeRule>([['made', { min: 9 }]]),
        },
      },
      'accepted',
    ],
  ])('%s', (_, changes, expected) => {
    expect(follow(changes)).toEqual(expected);
  });

  it('a format that is no longer admitted keeps its level rules, so that none comes back laxer', () => {
    const closed = { ...madePolicy().appraisal, formats: new Map() };
    const levels = madeLevels({}, {}, {}, {});
    expect(follow({ appraisal: closed, levels })).toEqual([
      'POLICY_NOT_TIGHTER',
      'policy.levels[0].made.min',
    ]);
  });

  it('the first version is 1', () => {
    expect(refusal(() => checkFirst(madePolicy()))).toBe('accepted');
    expect(refusal(() => checkFirst(next()))).toEqual(['POLICY_CHAIN', 'policy.version']);
  });
});

describe('which policy covers a CVM', () => {
  const policies = [['*'], ['web-*', 'db'], ['web-1*'], ['web-12']].map((cvmNames) => ({
    cvmNames,
  }));

  it.each([
    ['web-12', 3],
    ['web-123', 2],
    ['web-1', 2],
    ['web-2', 1],
    ['db', 1],
    ['db-1', 0],
  ])('%s: the longest match', (name, expected) => {
    expect(bestCoverage(policies, name)).toBe(policies[expected]);
  });

  it('none where none matches', () => {
    expect(bestCoverage(policies.slice(1), 'mail')).toBeUndefined();
  });
});
