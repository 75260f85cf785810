import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CvmpError } from '#core/errors.js';
import { parseCheckpoint } from '#core/log/checkpoint.js';
import { crypto } from '#crypto';
import { asCvmpError } from '#server/host/level-files/inspect.js';
import type { StateOptions } from '../release/open.js';
import { headFileOf, restoreLevelStore } from '../store/level.js';
import type { Entry } from '../store/store.js';
import {
  type BackupManifest,
  decodeRecords,
  manifestName,
  mustBeFile,
  parseManifest,
  verifyManifest,
} from './backup-format.js';
import { withStoreAtRest } from './open.js';

export interface Restored {
  readonly records: number;
  /** When the backup was made; milliseconds since 1970. */
  readonly time: number;
  /** Of its checkpoint. */
  readonly logSize: number;
}

/**
 * Makes the store from a backup. Every file must be what the manifest says, the manifest must be
 * signed by the identity key inside, and the vault must be that of the store. The restored store
 * only reads until it is anchored: what came after the backup is not in it.
 * @param progress told of the records so far
 * @throws CvmpError ALREADY_EXISTS where there is a store; STORE_MISSING, STORE_CORRUPT, MALFORMED,
 *   SIGNATURE_INVALID, STORE_WRITE, STORE_ACCESS, CONFIG
 */
export async function restoreBackup(
  backup: string,
  folder: string,
  options: StateOptions,
  progress: (records: number) => void = () => undefined,
): Promise<Restored> {
  if (existsSync(folder)) throw new CvmpError('ALREADY_EXISTS', `there is a store at ${folder}`);
  const signed = readFile(backup, manifestName);
  const manifest = parseManifest(signed);
  // Nothing is at the store's place before it is whole.
  const unfinished = `${folder}.restoring`;
  rmSync(unfinished, { recursive: true, force: true });
  try {
    await restoreLevelStore(unfinished, batchesOf(backup, manifest, progress));
    await withStoreAtRest(unfinished, vaultOf(folder, options), ({ state }) =>
      verifyManifest(signed, state.identity),
    );
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  }
  setHeadAside(options.headFile ?? headFileOf(folder));
  renameSync(unfinished, folder);
  const { records, time, checkpoint } = manifest;
  return { records, time, logSize: parseCheckpoint(checkpoint).size };
}

async function* batchesOf(
  backup: string,
  { files, records }: BackupManifest,
  progress: (records: number) => void,
): AsyncGenerator<readonly Entry[]> {
  let count = 0;
  for (const file of files) {
    const bytes = readFile(backup, file.name);
    mustBeFile(file, bytes.length, crypto.hash('sha256', bytes));
    const entries = decodeRecords(bytes);
    count += entries.length;
    yield entries;
    progress(count);
  }
  if (count !== records) {
    throw new CvmpError('STORE_CORRUPT', `the backup has ${count} records, not ${records}`);
  }
}

/** Where the vault is follows from the store's own place, not from that of its beginnings. */
function vaultOf(folder: string, options: StateOptions): StateOptions {
  return { ...options, vaultFolder: options.vaultFolder ?? `${folder}.vault` };
}

/** It knows of more than the backup; who anchors the store decides on that. */
function setHeadAside(headFile: string): void {
  if (existsSync(headFile)) renameSync(headFile, `${headFile}.before-restore`);
}

function readFile(backup: string, name: string): Buffer {
  try {
    return readFileSync(join(backup, name));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new CvmpError('STORE_MISSING', `${backup} has no ${name}: it is no whole backup`);
    }
    throw asCvmpError(cause, join(backup, name));
  }
}
