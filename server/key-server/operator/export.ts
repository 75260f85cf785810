import { open } from 'node:fs/promises';
import type { EcPublicKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { parseCheckpoint } from '#core/log/checkpoint.js';
import type { Dialog, ProgramCommand } from '#server/host/program.js';
import { firstLine, lastLine, recordLine } from '#wire/log-copy.js';
import type { StorePlace } from '../upkeep/commands.js';
import { withStoreAtRest } from '../upkeep/open.js';
import { callOperator } from './client.js';

const pageSize = 500;

/** Where the log is read: of the running server, or of a store at rest. */
interface LogPages {
  checkpoint(): Promise<Uint8Array>;
  /** Records after one, at least one where there are more. */
  after(index: number): Promise<readonly Uint8Array[]>;
}

export interface ExportPlaces<C> {
  /** Path of the operator socket. */
  readonly socketOf: (config: C) => string;
  /** @throws CvmpError CONFIG */
  readonly identityOf: (config: C) => EcPublicKey;
  readonly placeOf: (config: C, dialog: Dialog) => StorePlace | Promise<StorePlace>;
}

/** Writes the whole log to a file that needs no server to be verified (`cvmp audit verify`). */
export function exportCommands<C>(
  places: ExportPlaces<C>,
): Readonly<Record<string, ProgramCommand<C>>> {
  return {
    'export audit': {
      summary:
        'Write the records of all tenants to FILE, of the running server or of a stopped one.',
      positionals: 'FILE',
      run: async (config, given) => {
        const [file] = given.positionals;
        if (file === undefined) throw new CvmpError('USAGE', 'FILE is missing');
        const identity = places.identityOf(config);
        const socket = places.socketOf(config);
        const write = (log: LogPages) => writeCopy(file, log, identity, given.progress);
        try {
          return await callOperator(socket, (client) =>
            write({
              checkpoint: async () => (await client.exportLog({ pageSize: 1 })).checkpoint,
              after: async (index) =>
                (await client.exportLog({ afterIndex: BigInt(index), pageSize })).records,
            }),
          );
        } catch (error) {
          if (!(error instanceof CvmpError) || error.code !== 'UNAVAILABLE') throw error;
        }
        const place = await places.placeOf(config, given);
        return withStoreAtRest(place.folder, place, ({ state: { log } }) =>
          write({
            checkpoint: async () => (await log.newest()).signed,
            after: (index) => log.exportAll(index, pageSize),
          }),
        );
      },
    },
  };
}

async function writeCopy(
  path: string,
  log: LogPages,
  identity: EcPublicKey,
  progress: (line: string) => void,
): Promise<readonly string[]> {
  const checkpoint = await log.checkpoint();
  const { size } = parseCheckpoint(checkpoint);
  const file = await open(path, 'wx', 0o600).catch((cause: Error) => {
    throw new CvmpError('USAGE', `cannot write ${path}: ${cause.message}`, { cause });
  });
  try {
    const line = (text: string) => file.write(`${text}\n`);
    await line(firstLine({ checkpoint, kept: undefined }, undefined, identity));
    for (let done = 0; done < size; ) {
      const records = (await log.after(done)).slice(0, size - done);
      if (records.length === 0) throw new CvmpError('STORE_CORRUPT', `no record after ${done}`);
      await file.write(records.map((record) => `${recordLine({ record })}\n`).join(''));
      done += records.length;
      if (done % 100_000 < pageSize) progress(`${done} records`);
    }
    await line(lastLine(size, undefined));
    await file.sync();
  } finally {
    await file.close();
  }
  return [`${size} records written to ${path}`, `  cvmp audit verify ${path} --identity-key FILE`];
}
