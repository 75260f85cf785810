import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { concat, equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { asCvmpError } from '#server/host/level-files/inspect.js';

// Two places, each in a sector of its own and written by turns, so that one is always whole:
// magic (8 bytes), store id (16), number of commits (6, big-endian), first 16 bytes of the SHA-256
// of all that.

const magic = Buffer.from('CVMPHEAD');
const idLength = 16;
const numberLength = 6;
const digestLength = 16;
const bodyLength = magic.length + idLength + numberLength;
const slotLength = bodyLength + digestLength;
const slotDistance = 4096;
const syncMilliseconds = 5000;

/**
 * How many commits a store has acknowledged, in a file beside it. LevelDB drops a damaged end of its
 * log without a word; this file knows how far it had come. It is written after the commit is durable
 * and before anybody is told, and never ahead of it; a crash of the process cannot lose it, a loss of
 * power at most the last seconds of it, which makes it forget, never accuse.
 */
export class HeadFile {
  readonly #file: number;
  readonly #storeId: Uint8Array;
  readonly #timer: NodeJS.Timeout;
  #commits: number;
  #isSynced = true;

  private constructor(file: number, storeId: Uint8Array, commits: number) {
    this.#file = file;
    this.#storeId = storeId;
    this.#commits = commits;
    this.#timer = setInterval(() => this.#syncLater(), syncMilliseconds).unref();
  }

  /**
   * Makes it, in place of one that may be there.
   * @throws CvmpError STORE_ACCESS, STORE_WRITE
   */
  static create(path: string, storeId: Uint8Array, commits: number): HeadFile {
    const temporary = `${path}.new`;
    try {
      const file = openSync(temporary, 'w+', 0o600);
      const bytes = Buffer.alloc(slotDistance + slotLength);
      for (const at of [0, slotDistance]) bytes.set(slot(storeId, commits), at);
      writeSync(file, bytes, 0, bytes.length, 0);
      fsyncSync(file);
      renameSync(temporary, path);
      syncFolder(dirname(path));
      return new HeadFile(file, storeId, commits);
    } catch (cause) {
      throw asCvmpError(cause, path);
    }
  }

  /**
   * @returns undefined where there is none, or none of this store
   * @throws CvmpError STORE_ACCESS
   */
  static open(path: string, storeId: Uint8Array): HeadFile | undefined {
    let file: number;
    try {
      file = openSync(path, 'r+');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw asCvmpError(cause, path);
    }
    const known = [0, slotDistance].flatMap((at) => readSlot(file, at, storeId) ?? []);
    if (known.length > 0) return new HeadFile(file, storeId, Math.max(...known));
    closeSync(file);
    return undefined;
  }

  /** Acknowledged so far. */
  get commits(): number {
    return this.#commits;
  }

  /** @param commits durable now. @throws CvmpError STORE_WRITE */
  advance(commits: number): void {
    try {
      const at = (commits & 1) * slotDistance;
      writeSync(this.#file, slot(this.#storeId, commits), 0, slotLength, at);
    } catch (cause) {
      throw new CvmpError('STORE_WRITE', 'the head file could not be written', { cause });
    }
    this.#commits = commits;
    this.#isSynced = false;
  }

  close(): void {
    clearInterval(this.#timer);
    try {
      if (!this.#isSynced) fdatasyncSync(this.#file);
    } catch {
      // What it tells of is durable; after a loss of power it may have forgotten the last of it.
    } finally {
      closeSync(this.#file);
    }
  }

  /** Off the path of an answer; a disk that fails shows at the next commit. */
  #syncLater(): void {
    if (this.#isSynced) return;
    this.#isSynced = true;
    fdatasync(this.#file, () => undefined);
  }
}

function slot(storeId: Uint8Array, commits: number): Uint8Array {
  const number = Buffer.alloc(numberLength);
  number.writeUIntBE(commits, 0, numberLength);
  const body = concat(magic, storeId, number);
  return concat(body, crypto.hash('sha256', body).subarray(0, digestLength));
}

/** @returns undefined where it is damaged or of another store */
function readSlot(file: number, at: number, storeId: Uint8Array): number | undefined {
  const bytes = Buffer.alloc(slotLength);
  if (readSync(file, bytes, 0, slotLength, at) !== slotLength) return undefined;
  const commits = bytes.readUIntBE(magic.length + idLength, numberLength);
  return equalBytes(bytes, slot(storeId, commits)) ? commits : undefined;
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
