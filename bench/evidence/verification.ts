import type { KeyObject } from 'node:crypto';
import { byTurns, type Effort, percentile, timed } from '../measure.js';
import type { Claim, Figure } from '../report.js';
import { allOf, bareChecks } from './bare-checks.js';
import type { EvidenceKind } from './kinds.js';

// Claim: evidence of every kind costs little more than the signatures that have to be checked.

/** @param rsa4096 private key, for the bare cost of AMD's signatures */
export async function measureVerification(
  kinds: readonly EvidenceKind[],
  rsa4096: KeyObject,
  effort: Effort,
): Promise<Claim> {
  const checks = bareChecks(rsa4096);
  const figures: Figure[] = [];
  for (const kind of kinds) {
    const bareChecksOf = allOf(kind.signatures, checks);
    await timed(effort.warmUpSeconds, kind.verify);
    const { whole, bare, parsed } = await byTurns(effort, {
      whole: (seconds) => timed(seconds, kind.verify),
      bare: (seconds) => timed(seconds, bareChecksOf),
      parsed: (seconds) => timed(seconds / 4, kind.parse),
    });
    figures.push({
      name: kind.name,
      ratio: whole.cpuMicroseconds / bare.cpuMicroseconds,
      ...(kind.mark === undefined ? {} : { most: kind.mark }),
      values: {
        per_s: whole.perSecond,
        cpu_us: whole.cpuMicroseconds,
        bare_cpu_us: bare.cpuMicroseconds,
        parse_cpu_us: parsed.cpuMicroseconds,
      },
    });
  }
  return {
    title: 'Evidence, verified up to its binding',
    ratioOf: 'CPU, against that of the bare signature checks in the same minute',
    figures,
  };
}

const blockMsMax = 2;

/** Claim: no verification keeps the event loop from other work for long. */
export async function measureBlocking(
  kinds: readonly EvidenceKind[],
  effort: Effort,
): Promise<Claim> {
  const figures: Figure[] = [];
  for (const { name, verify } of kinds) {
    const stretches = await longestStretches(verify, effort);
    figures.push({
      name,
      ratio: percentile(stretches, 0.5),
      most: blockMsMax,
      values: {
        ms_of_99_in_100: percentile(stretches, 0.99),
        worst_ms: percentile(stretches, 1),
        runs: stretches.length,
      },
    });
  }
  return {
    title: 'Evidence, longest stretch without a turn of the event loop',
    ratioOf: 'milliseconds, the median; the rest is also of what else runs on the machine',
    figures,
  };
}

/** @returns longest stretch of each run, milliseconds, ascending */
async function longestStretches(
  work: () => Promise<unknown>,
  { seconds }: Effort,
): Promise<readonly number[]> {
  const stretches: number[] = [];
  const until = performance.now() + seconds * 1000;
  do {
    let [last, longest, isDone] = [performance.now(), 0, false];
    const turn = () => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      if (!isDone) setImmediate(turn);
    };
    setImmediate(turn);
    await work();
    isDone = true;
    turn();
    stretches.push(longest);
  } while (performance.now() < until);
  return stretches.sort((a, b) => a - b);
}
