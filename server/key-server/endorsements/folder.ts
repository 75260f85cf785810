import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CvmpError } from '#core/errors.js';
import { chainNameOf, type StatementDocument, statementNamed } from './statements.js';

/** A file of the folder. */
export interface FolderEntry {
  /** As {@link nameOf} gives it. */
  readonly name: string;
  readonly bytes: number;
  /** When it was got, milliseconds since 1970: its modification time. */
  readonly obtainedAt: number;
}

/** What is in the folder under one name. */
export interface StoredDocument extends StatementDocument {
  readonly obtainedAt: number;
}

export interface FolderLimits {
  /** Above it the certificates of chips that were got longest ago go. */
  readonly bytesMax: number;
  /** A larger file is not read. */
  readonly documentBytesMax: number;
}

/** Deepest place: amd/vcek/PRODUCT/CHIP/FILE. */
const depthMax = 5;
/** Entries that are looked at; more than any folder of certificates has. */
const entriesMax = 100_000;

/**
 * The folder of endorsements: what was imported or fetched, one file each, readable by anybody who
 * can read a directory listing. What comes out of it is untrusted: a file may have been put there,
 * changed or damaged by others.
 */
export class EndorsementFolder {
  readonly path: string;
  readonly #limits: FolderLimits;
  #bytes: number | undefined;

  constructor(path: string, limits: FolderLimits) {
    this.path = path;
    this.#limits = limits;
  }

  /** Tells whether the file of this name is still the one that was read; undefined: none. */
  async stamp(name: string): Promise<string | undefined> {
    try {
      const { ino, size, mtimeMs } = await stat(join(this.path, name));
      return `${ino} ${size} ${mtimeMs}`;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw unreadable(name, error);
    }
  }

  /** @throws CvmpError ENDORSEMENT_INVALID (not to be read, too large) */
  async read(name: string): Promise<StoredDocument | undefined> {
    const body = await this.#readFile(name);
    if (body === undefined) return undefined;
    const chain = name.endsWith('.pem') ? undefined : await this.#readFile(chainNameOf(name));
    return { body: body.bytes, chain: chain?.bytes, obtainedAt: body.obtainedAt };
  }

  /**
   * Puts a document in place at once: who reads finds the old one or the new one.
   * @param at milliseconds since 1970
   */
  async write(name: string, { body, chain }: StatementDocument, at: number): Promise<void> {
    const seconds = at / 1000;
    const put = async (file: string, bytes: Uint8Array) => {
      const path = join(this.path, file);
      await mkdir(dirname(path), { recursive: true });
      const own = `${path}.${randomUUID()}.new`;
      try {
        await writeFile(own, bytes, { flag: 'wx', mode: 0o644 });
        await utimes(own, seconds, seconds);
        await rename(own, path);
      } catch (error) {
        await rm(own, { force: true });
        throw error;
      }
    };
    // The one that is looked for comes last.
    if (chain !== undefined) await put(chainNameOf(name), chain);
    await put(name, body);
    await this.#makeRoom(name, body.length);
  }

  /** All statements in the folder, by name; other files are passed over. */
  async list(): Promise<readonly FolderEntry[]> {
    const entries: FolderEntry[] = [];
    let seen = 0;
    const walk = async (folder: string, depth: number): Promise<void> => {
      const found = await readdir(join(this.path, folder), { withFileTypes: true }).catch(
        (error) => {
          if (isMissing(error)) return [];
          throw unreadable(folder, error);
        },
      );
      for (const entry of found) {
        seen += 1;
        if (seen > entriesMax) throw new CvmpError('SIZE', `${this.path} has too many files`);
        const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
        if (entry.isDirectory() && depth < depthMax) await walk(name, depth + 1);
        if (!entry.isFile() || statementNamed(name) === undefined) continue;
        const { size, mtimeMs } = await stat(join(this.path, name));
        entries.push({ name, bytes: size, obtainedAt: Math.round(mtimeMs) });
      }
    };
    await walk('', 1);
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async #readFile(
    name: string,
  ): Promise<{ readonly bytes: Uint8Array; readonly obtainedAt: number } | undefined> {
    try {
      const file = await open(join(this.path, name), constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        const { size, mtimeMs } = await file.stat();
        if (size > this.#limits.documentBytesMax) {
          throw new CvmpError('ENDORSEMENT_INVALID', `${name} has ${size} bytes`);
        }
        const bytes = new Uint8Array(await file.readFile());
        return { bytes, obtainedAt: Math.round(mtimeMs) };
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw unreadable(name, error);
    }
  }

  /** Certificates of chips are without end; all the rest is some twenty files. */
  async #makeRoom(written: string, length: number): Promise<void> {
    if (this.#bytes !== undefined) this.#bytes += length;
    if (this.#bytes !== undefined && this.#bytes <= this.#limits.bytesMax) return;
    const entries = await this.list();
    let total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
    const oldest = entries
      .filter(({ name }) => statementNamed(name)?.kind === 'amd-vcek' && name !== written)
      .sort((a, b) => a.obtainedAt - b.obtainedAt);
    for (const { name, bytes } of oldest) {
      // A tenth more than needed, so that not every write has to look at all of them.
      if (total <= this.#limits.bytesMax * 0.9) break;
      if (total <= this.#limits.bytesMax && this.#bytes === undefined) break;
      await rm(join(this.path, name), { force: true });
      total -= bytes;
    }
    this.#bytes = total;
  }
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function unreadable(name: string, cause: unknown): CvmpError {
  if (cause instanceof CvmpError) return cause;
  return new CvmpError('ENDORSEMENT_INVALID', `${name} cannot be read`, { cause });
}
