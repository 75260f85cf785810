import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { CvmpError } from '#core/errors.js';
import { readLogFile } from './log-file.js';
import { type Manifest, readManifest } from './manifest.js';
import { verifyTable, verifyTableIndex } from './table-file.js';

/** Who runs this process; undefined where the system has no such thing. */
type UserId = number | undefined;

/**
 * Looks at the files of a LevelDB before it is opened: LevelDB opens an empty database where CURRENT
 * is lost, drops what a damaged log held, forgets tables where its MANIFEST was cut off, deletes what
 * it then takes for superfluous, and notices a table that was cut off only when it reads there.
 * @throws CvmpError STORE_MISSING, STORE_ACCESS, STORE_CORRUPT, STORE_LOCKED
 */
export function inspectFiles(folder: string): void {
  const files = filesOf(folder);
  try {
    const { logNumber, tables } = liveManifest(folder, files);
    for (const [number, size] of tables) mustHaveTable(folder, number, size);
    const logs = files.filter((name) => /^\d+\.log$/.test(name));
    if (!logs.some((name) => Number.parseInt(name, 10) === logNumber)) {
      const what = `its log ${fileName(logNumber, 'log')} is lost, or its MANIFEST cut off`;
      throw new CvmpError('STORE_CORRUPT', `the database at ${folder} is damaged: ${what}`);
    }
    for (const name of logs) readLogFile(join(folder, name));
  } catch (error) {
    // A server that writes changes files under our eyes.
    if (isLocked(folder)) {
      throw new CvmpError('STORE_LOCKED', `${folder} is open in another process`);
    }
    throw asCvmpError(error, folder);
  }
}

/**
 * Verifies every block of every table file, also while the database is open.
 * @returns now and then how many bytes it has verified since, so that others can come in between
 * @throws CvmpError STORE_CORRUPT, STORE_ACCESS
 */
export function* verifyTables(folder: string): Generator<number, void> {
  const { tables } = liveManifest(folder, readdirSync(folder));
  for (const number of tables.keys()) {
    const path = join(folder, tableName(folder, number));
    try {
      yield* verifyTable(path);
    } catch (error) {
      // What a compaction has replaced meanwhile is gone.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asCvmpError(error, path);
    }
  }
}

/** @throws CvmpError STORE_MISSING, STORE_CORRUPT, STORE_ACCESS */
function filesOf(folder: string): readonly string[] {
  let stats: Stats;
  let files: readonly string[];
  try {
    stats = statSync(folder);
    files = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asCvmpError(error, folder);
    throw new CvmpError('STORE_MISSING', `there is no database at ${folder}`);
  }
  if (!files.includes('CURRENT')) {
    if (files.some((name) => /\.(ldb|log)$|^MANIFEST-/.test(name))) {
      throw new CvmpError('STORE_CORRUPT', `the database at ${folder} has lost its file CURRENT`);
    }
    throw new CvmpError('STORE_MISSING', `there is no database at ${folder}`);
  }
  mustBeOurs(folder, stats, process.geteuid?.());
  return files;
}

/** What another user owns or may write is not ours; as root we would leave files it cannot open. */
function mustBeOurs(folder: string, { uid, mode }: Stats, user: UserId): void {
  if (user !== undefined && uid !== user) {
    const what = `${folder} belongs to the user ${uid}, this process runs as ${user}`;
    throw new CvmpError('STORE_ACCESS', what);
  }
  if ((mode & 0o077) !== 0) {
    throw new CvmpError('STORE_ACCESS', `${folder} is open to other users; chmod 700 it`);
  }
}

function liveManifest(folder: string, files: readonly string[]): Manifest {
  const name = readFileSync(join(folder, 'CURRENT'), 'latin1').trimEnd();
  if (!/^MANIFEST-\d+$/.test(name) || !files.includes(name)) {
    const what = `the database at ${folder} has lost its MANIFEST, or CURRENT is damaged`;
    throw new CvmpError('STORE_CORRUPT', what);
  }
  return readManifest(join(folder, name));
}

function mustHaveTable(folder: string, number: number, expected: number): void {
  const path = join(folder, tableName(folder, number));
  const { size } = statSync(path, { throwIfNoEntry: false }) ?? {};
  if (size !== expected) {
    const what = size === undefined ? 'is lost' : `has ${size} bytes, not ${expected}`;
    throw new CvmpError('STORE_CORRUPT', `the table ${path} ${what}`);
  }
  verifyTableIndex(path);
}

/** Older versions of LevelDB called tables .sst; it still reads them. */
function tableName(folder: string, number: number): string {
  const older = fileName(number, 'sst');
  const isOlder = statSync(join(folder, older), { throwIfNoEntry: false }) !== undefined;
  return isOlder ? older : fileName(number, 'ldb');
}

function fileName(number: number, kind: string): string {
  return `${String(number).padStart(6, '0')}.${kind}`;
}

/**
 * Whether another process holds LevelDB's lock. Asked of the system: a process that opens and closes
 * the file itself would drop its own lock.
 */
function isLocked(folder: string): boolean {
  try {
    const { ino } = statSync(join(folder, 'LOCK'));
    const locks = readFileSync('/proc/locks', 'latin1').split('\n');
    return locks.some((line) => line.includes(' WRITE ') && line.includes(`:${ino} `));
  } catch {
    return false;
  }
}

/** Errors of the system and of LevelDB as what an operator can do about them. */
export function asCvmpError(error: unknown, place: string): CvmpError {
  if (error instanceof CvmpError) return error;
  const { message } = error as Error;
  const code = /permission denied|read-only|EACCES|EPERM|EROFS/i.test(message)
    ? 'STORE_ACCESS'
    : /no space|quota|input\/output|ENOSPC|EDQUOT|EIO/i.test(message)
      ? 'STORE_WRITE'
      : 'STORE_CORRUPT';
  return new CvmpError(code, `${place} does not open: ${message}`, { cause: error });
}
