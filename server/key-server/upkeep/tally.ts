import { emptyFrontier, type Frontier } from '#core/log/tree.js';
import { noKeys } from '../release/key-counts.js';
import type { Problem } from './check.js';

/** Kept; further ones are only counted. */
const problemsMax = 1000;

/** The last record of a tenant in the log. */
interface LastOf {
  readonly sequence: number;
  readonly leaf: Uint8Array;
}

/** What a check has come by so far. */
export class Tally {
  readonly records = new Map<string, number>();
  readonly problems: Problem[] = [];
  problemCount = 0;
  /** Keys by floor, as the records of counts should say; by "tenant/policy". */
  readonly keys = new Map<string, number[]>();
  /** The log up to the block before. */
  log: { frontier: Frontier; stateVersion: number } = { frontier: emptyFrontier, stateVersion: 0 };
  readonly lastOf = new Map<string, LastOf>();
  /** Names that lead to blocks: those found, and those that should be. */
  readonly names = { found: 0, expected: 0 };

  /** Remembered requests that nothing says when to forget. */
  requests = 0;

  problem(key: string, what: string): void {
    this.problemCount++;
    if (this.problems.length < problemsMax) this.problems.push({ key, what });
  }

  count(owner: string, svnFloor: number): void {
    const counts = this.keys.get(owner) ?? [...noKeys];
    counts[svnFloor - 1]! += 1;
    this.keys.set(owner, counts);
  }
}
