import type { Judge } from './judge.js';
import { judgeWycheproof } from './judges/wycheproof.js';

/** The judge of each `kind` of `expected.json`. Kinds that are not here are shown as not judged. */
export const judges: ReadonlyMap<string, Judge> = new Map<string, Judge>([
  ['wycheproof', judgeWycheproof],
]);
