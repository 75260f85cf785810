import { CvmpError } from '#core/errors.js';
import { readLogFile } from './log-file.js';

/** What LevelDB's newest version of a database consists of. */
export interface Manifest {
  /** Number of the log file that is written; older ones are not read any more. */
  readonly logNumber: number;
  /** Sizes of the table files by their numbers. */
  readonly tables: ReadonlyMap<number, number>;
}

/** Tags of a version edit (db/version_edit.cc). */
const tags = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  prevLogNumber: 9,
} as const;

/** @throws CvmpError STORE_CORRUPT */
export function readManifest(path: string): Manifest {
  let logNumber = 0;
  const tables = new Map<number, number>();
  let parts: Uint8Array[] = [];
  readLogFile(path, ({ type, bytes }) => {
    if (type === 1 || type === 2) parts = [];
    parts.push(bytes.slice());
    if (type === 1 || type === 4) {
      logNumber = applyEdit(new Edit(Buffer.concat(parts), path), tables) ?? logNumber;
    }
  });
  return { logNumber, tables };
}

/** @returns the log number, where the edit has one */
function applyEdit(edit: Edit, tables: Map<number, number>): number | undefined {
  let logNumber: number | undefined;
  while (!edit.atEnd) {
    const tag = edit.integer();
    if (tag === tags.comparator) edit.skipText();
    else if (tag === tags.logNumber) logNumber = edit.integer();
    else if (tag === tags.nextFile || tag === tags.lastSequence || tag === tags.prevLogNumber) {
      edit.integer();
    } else if (tag === tags.compactPointer) {
      edit.integer();
      edit.skipText();
    } else if (tag === tags.deletedFile) {
      edit.integer();
      tables.delete(edit.integer());
    } else if (tag === tags.newFile) {
      edit.integer();
      tables.set(edit.integer(), edit.integer());
      edit.skipText();
      edit.skipText();
    } else edit.refuse(`tag ${tag}`);
  }
  return logNumber;
}

class Edit {
  readonly #bytes: Uint8Array;
  readonly #path: string;
  #at = 0;

  constructor(bytes: Uint8Array, path: string) {
    this.#bytes = bytes;
    this.#path = path;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** A varint; those of a database stay below 2^53. */
  integer(): number {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 49; factor *= 128) {
      const byte = this.#bytes[this.#at++] ?? this.refuse('its end');
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    return this.refuse('a number');
  }

  skipText(): void {
    const end = this.integer() + this.#at;
    if (end > this.#bytes.length) this.refuse('a name');
    this.#at = end;
  }

  refuse(what: string): never {
    throw new CvmpError('STORE_CORRUPT', `${this.#path} is damaged: ${what}`);
  }
}
