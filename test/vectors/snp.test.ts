import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { judges } from '../../scripts/vectors/judges.js';
import { summarise } from '../../scripts/vectors/report.js';
import { judgeAll } from '../../scripts/vectors/run.js';
import { sharedVectors } from '../vectors.js';

const vectors = sharedVectors();

describe.skipIf(vectors === undefined)('recorded SNP evidence (needs ../shared/vectors)', () => {
  it.each(['snp', 'measure/sev-launch-digest'])('%s: every case is as expected', async (folder) => {
    const report = summarise(await judgeAll(join(vectors!, folder), judges));
    expect(report.mismatches).toEqual([]);
    for (const { asExpected, total } of report.kinds) expect(asExpected).toBe(total);
    expect(report.kinds.reduce((n, kind) => n + kind.total, 0)).toBeGreaterThan(10);
  });
});
