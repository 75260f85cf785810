import { expect, test } from 'vitest';
import { SecurityProcessor } from '#sim/security-processor.js';
import { quick } from '../../bench/measure.js';
import { measureAll } from '../../bench/measure-all.js';
import { simulatedAuthority } from '../fakes/simulated-hardware.js';
import { temporaryFolder } from '../run-folder.js';

test('every benchmark runs, and gives finite figures', async () => {
  const processor = SecurityProcessor.create(await simulatedAuthority(), Date.now);
  const claims = await measureAll(processor, temporaryFolder('bench'), quick, () => undefined);
  const figures = claims.flatMap((claim) => claim.figures);
  expect(claims.map((claim) => claim.figures.length)).toEqual([3, 2, 8, 8, 4]);
  for (const { ratio, values } of figures) {
    for (const value of [ratio, ...Object.values(values)]) expect(value).toBeGreaterThanOrEqual(0);
  }
}, 180_000);
