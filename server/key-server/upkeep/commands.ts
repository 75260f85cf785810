import { CvmpError } from '#core/errors.js';
import type { CommandArguments, Dialog, ProgramCommand } from '#server/host/program.js';
import type { StateOptions } from '../release/open.js';
import { type CheckReport, checkStore } from './check.js';
import { withStoreAtRest } from './open.js';

/** Where a configuration says that the store is, and how it is opened. */
export interface StorePlace extends StateOptions {
  readonly folder: string;
}

type PlaceOf<C> = (config: C, dialog: Dialog) => StorePlace | Promise<StorePlace>;

/** Commands on a store that no server has open. */
export function upkeepCommands<C>(
  placeOf: PlaceOf<C>,
): Readonly<Record<string, ProgramCommand<C>>> {
  return {
    'store check': {
      summary: 'Read and open every record of a stopped server, and follow every reference.',
      flags: { json: 'print one JSON value' },
      run: async (config, given) => check(await placeOf(config, given), given),
    },
  };
}

/** Says what it found; exit code 1 where something is wrong. */
async function check(place: StorePlace, given: CommandArguments): Promise<readonly string[]> {
  const progress = (count: number) => {
    if (count % 100_000 < 1000) given.progress(`${count} records`);
  };
  const report = await withStoreAtRest(place.folder, place, (opened) =>
    checkStore(opened, progress),
  );
  const lines = given.flag('json') ? [asJson(report)] : asTable(report);
  if (report.problemCount === 0) return lines;
  for (const line of lines) given.print(line);
  const what = report.problemCount === 1 ? 'one record is' : `${report.problemCount} records are`;
  throw new CvmpError('STORE_CORRUPT', `${what} not as the server wrote them`);
}

function asTable({ records, logSize, problems }: CheckReport): readonly string[] {
  const rows = [...records].map(([kind, count]) => `${kind.padEnd(18)}${count}`);
  return [
    `${'KIND'.padEnd(18)}RECORDS`,
    ...rows,
    `log of decisions: ${logSize} records`,
    ...problems.map(({ key, what }) => `problem: ${key} ${what}`),
    ...(problems.length === 0 ? ['no problem found'] : []),
  ];
}

function asJson({ records, logSize, problems, problemCount }: CheckReport): string {
  return JSON.stringify({
    records: Object.fromEntries(records),
    log_size: logSize,
    problem_count: problemCount,
    problems,
  });
}
