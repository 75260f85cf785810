import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Judge } from '../../scripts/vectors/judge.js';
import { renderText, summarise } from '../../scripts/vectors/report.js';
import { caseFolders, judgeAll } from '../../scripts/vectors/run.js';
import { temporaryFolder } from '../run-folder.js';

const parity: Judge = async (folder) =>
  Object.entries(folder.expected.cases as Record<string, string>).map(([name, expected]) => {
    if (name === 'unknown') return { name, expected, actual: '-', asExpected: undefined };
    const actual = folder.read(name).length % 2 === 0 ? 'even' : 'odd';
    return { name, expected, actual, asExpected: actual === expected };
  });
const judges = new Map([['parity', parity]]);

let root: string;
beforeEach(() => {
  root = temporaryFolder('vectors');
});

function addCase(path: string, kind: string, cases: Record<string, string>): void {
  mkdirSync(join(root, path), { recursive: true });
  writeFileSync(join(root, path, 'expected.json'), JSON.stringify({ kind, cases }));
  for (const name of Object.keys(cases)) writeFileSync(join(root, path, name), 'ab');
}

describe('npm run vectors', () => {
  it('judges folders at any depth, and a folder that is itself a case', async () => {
    addCase('a/b', 'parity', { one: 'even' });
    addCase('a', 'parity', { two: 'even' });
    expect(caseFolders(root)).toHaveLength(2);
    expect(summarise(await judgeAll(root, judges)).kinds).toEqual([
      { kind: 'parity', asExpected: 2, total: 2, notJudged: 0 },
    ]);
    expect(summarise(await judgeAll(join(root, 'a/b'), judges)).kinds[0]!.total).toBe(1);
  });

  it('names every mismatch, and what nobody can judge', async () => {
    addCase('x', 'parity', { one: 'odd', two: 'even', unknown: 'even' });
    addCase('y', 'other', {});
    const report = summarise(await judgeAll(root, judges));
    expect(report.mismatches).toEqual([
      { kind: 'parity', case: 'x/one', expected: 'odd', actual: 'even' },
    ]);
    expect(report.notJudged).toEqual([
      { kind: 'parity', case: 'x/unknown' },
      { kind: 'other', case: 'y' },
    ]);
    expect(renderText(report)).toContain('as expected 1 of 2');
    expect(renderText(report)).toContain('mismatch: x/one: expected odd, got even');
  });

  it('a folder that cannot be judged is a mismatch, not a crash', async () => {
    addCase('x', 'parity', {});
    writeFileSync(join(root, 'x/expected.json'), '{"kind": "parity"}');
    addCase('y', 'parity', {});
    writeFileSync(join(root, 'y/expected.json'), '{');
    expect(summarise(await judgeAll(root, judges)).mismatches).toHaveLength(2);
  });
});
