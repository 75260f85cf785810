import { resolve } from 'node:path';
import { fromBase64Url } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { readNamedFile } from '#server/host/config/files.js';
import type { CommandArguments, Dialog, ProgramCommand } from '#server/host/program.js';
import { callOperator } from '../operator/client.js';
import type { StateOptions } from '../release/open.js';
import { anchorStore } from './anchor.js';
import { type CheckReport, checkStore } from './check.js';
import { withStoreAtRest } from './open.js';
import { restoreBackup } from './restore.js';

/** Where a configuration says that the store is, and how it is opened. */
export interface StorePlace extends StateOptions {
  readonly folder: string;
}

type PlaceOf<C> = (config: C, dialog: Dialog) => StorePlace | Promise<StorePlace>;

/** Commands on a store that no server has open. */
export function upkeepCommands<C>(
  placeOf: PlaceOf<C>,
  socketOf: (config: C) => string,
): Readonly<Record<string, ProgramCommand<C>>> {
  return {
    backup: {
      summary: 'Copy the store of the running server into a new folder; the vault is not in it.',
      positionals: 'FOLDER',
      run: (config, given) => backup(socketOf(config), given),
    },
    restore: {
      summary: 'Make the store from a backup. It only reads until `store anchor`.',
      positionals: 'FOLDER',
      run: async (config, given) => restore(await placeOf(config, given), given),
    },
    'store anchor': {
      summary:
        'Let a restored store serve: no checkpoint that others keep is ahead of it. ' +
        'Where records are lost for good, say how many.',
      options: { checkpoint: 'FILE', 'accept-loss': 'N' },
      run: async (config, given) => anchor(await placeOf(config, given), given),
    },
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

async function backup(socket: string, given: CommandArguments): Promise<readonly string[]> {
  const folder = resolve(folderIn(given));
  let last = { records: 0n, bytes: 0n, logSize: 0n, done: false };
  await callOperator(socket, async (client) => {
    for await (const each of client.createBackup({ folder })) {
      last = each;
      if (!each.done) given.progress(`${each.records} records, ${each.bytes} bytes`);
    }
  });
  if (!last.done)
    throw new CvmpError('UNAVAILABLE', 'the server ended before the backup was whole');
  const { records, bytes, logSize } = last;
  return [`${folder}: ${records} records, ${bytes} bytes, log of ${logSize} decisions or more`];
}

async function restore(place: StorePlace, given: CommandArguments): Promise<readonly string[]> {
  const progress = (count: number) => given.progress(`${count} records`);
  const restored = await restoreBackup(folderIn(given), place.folder, place, progress);
  const made = new Date(restored.time).toISOString();
  return [
    `${place.folder}: ${restored.records} records of ${made}`,
    'It only reads until it is anchored: `store anchor` with the newest checkpoint that is known,',
    `of a tenant, an agent or an export; this backup was begun at ${restored.logSize} decisions.`,
  ];
}

async function anchor(place: StorePlace, given: CommandArguments): Promise<readonly string[]> {
  const shown = given.option('checkpoint').flatMap(readCheckpoints);
  const [loss = '0'] = given.option('accept-loss');
  if (shown.length === 0 || !/^[0-9]{1,15}$/.test(loss)) {
    throw new CvmpError('USAGE', 'store anchor takes --checkpoint FILE, and --accept-loss N');
  }
  const { logSize, shownSize, lost } = await anchorStore(place.folder, place, shown, Number(loss));
  const givenUp = lost === 0 ? [] : [`given up: ${lost}`];
  return [`anchored: log of ${logSize} decisions, checkpoint of ${shownSize}`, ...givenUp];
}

/**
 * Checkpoints as bytes, in base64url, or as `cvmp` and agents keep them: lines of a thumbprint and a
 * checkpoint.
 * @throws CvmpError CONFIG, MALFORMED
 */
function readCheckpoints(file: string): readonly Uint8Array[] {
  const bytes = readNamedFile(file, '--checkpoint');
  const text = Buffer.from(bytes).toString('latin1').trim();
  if (!/^[A-Za-z0-9_ \n-]+$/.test(text)) return [bytes];
  return text.split('\n').map((line) => fromBase64Url(line.split(' ').at(-1)!));
}

function folderIn({ positionals }: CommandArguments): string {
  const [folder, ...rest] = positionals;
  if (folder === undefined || rest.length > 0) {
    throw new CvmpError('USAGE', 'this command takes one folder');
  }
  return folder;
}
