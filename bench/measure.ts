import { readFileSync } from 'node:fs';

/** How much is measured: enough to trust a ratio, or just enough to see that it runs. */
export interface Effort {
  /** Rounds of each side, interleaved. */
  readonly rounds: number;
  /** Length of a round. */
  readonly seconds: number;
  /** Before the first round, so that nothing is measured that is not yet compiled. */
  readonly warmUpSeconds: number;
  /** That are acquired by turns. */
  readonly keys: number;
}

export const full: Effort = { rounds: 7, seconds: 0.7, warmUpSeconds: 3, keys: 256 };
export const quick: Effort = { rounds: 1, seconds: 0.05, warmUpSeconds: 0.05, keys: 4 };

/** Ticks per second in /proc/PID/stat; the same on every Linux. */
const ticksPerSecond = 100;

/** User and system time of a process so far, all its threads, in seconds; 0 where /proc is missing. */
export function cpuSecondsOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  } catch {
    return 0;
  }
}

/** The same of this process, in microseconds. */
export function ownCpuMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

export function median(values: readonly number[]): number {
  return percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

/** @param sorted ascending @param part 0 to 1 */
export function percentile(sorted: ArrayLike<number>, part: number): number {
  const { length } = sorted;
  return length === 0 ? 0 : sorted[Math.min(length - 1, Math.floor(length * part))]!;
}

export interface Timed {
  readonly count: number;
  readonly perSecond: number;
  /** Of the whole process, so asynchronous work counts too. */
  readonly cpuMicroseconds: number;
}

/** Runs something again and again for so long. */
export async function timed(
  seconds: number,
  work: () => unknown | Promise<unknown>,
  inFlight = 1,
): Promise<Timed> {
  const from = performance.now();
  const until = from + seconds * 1000;
  const cpu = ownCpuMicroseconds();
  let count = 0;
  const lane = async () => {
    do {
      await work();
      count += 1;
    } while (performance.now() < until);
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return {
    count,
    perSecond: count / ((performance.now() - from) / 1000),
    cpuMicroseconds: (ownCpuMicroseconds() - cpu) / count,
  };
}

/**
 * Measures several things by turns, so that whatever else happens on the machine happens to all of
 * them.
 * @returns for each the median of its rounds
 */
export async function byTurns<K extends string>(
  { rounds, seconds }: Effort,
  sides: Readonly<Record<K, (seconds: number) => Promise<Timed>>>,
): Promise<Record<K, Timed>> {
  const names = Object.keys(sides) as K[];
  const results = new Map<K, Timed[]>(names.map((name) => [name, []]));
  for (const name of names) await sides[name](seconds / 2);
  for (let round = 0; round < rounds; round++) {
    for (const name of names) results.get(name)!.push(await sides[name](seconds));
  }
  const entries = names.map((name): [K, Timed] => {
    const own = results.get(name)!;
    return [
      name,
      {
        count: own.reduce((sum, r) => sum + r.count, 0),
        perSecond: median(own.map((r) => r.perSecond)),
        cpuMicroseconds: median(own.map((r) => r.cpuMicroseconds)),
      },
    ];
  });
  return Object.fromEntries(entries) as Record<K, Timed>;
}
