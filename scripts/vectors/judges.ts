import type { Judge } from './judge.js';
import { judgeCoseWgExamples } from './judges/cose-wg-examples.js';
import { judgeWycheproof } from './judges/wycheproof.js';

/** The judge of each `kind` of `expected.json`. Kinds that are not here are shown as not judged. */
export const judges: ReadonlyMap<string, Judge> = new Map<string, Judge>([
  ['cose-wg-examples', judgeCoseWgExamples],
  ['wycheproof', judgeWycheproof],
]);
