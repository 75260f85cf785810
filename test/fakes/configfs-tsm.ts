import type { TsmFileOps } from '#agent/attester/tsm.js';
import { concat } from '#core/bytes.js';

export interface ConfigfsOptions {
  readonly provider?: string;
  /** The hardware: the report over what is in inblob. */
  readonly report?: (reportData: Uint8Array, privlevel: number) => Uint8Array;
  /** Certificate table; `undefined`: the file does not exist (TDX). */
  readonly auxblob?: Uint8Array | undefined;
  readonly privlevelFloor?: number;
  /** Called before each operation; what it throws is what the operation gives. */
  readonly before?: (operation: string, path: string, tsm: FakeConfigfsTsm) => void;
}

interface Folder {
  inblob: Uint8Array | undefined;
  privlevel: number;
  generation: bigint;
  /** Generation that the cached report was made in. */
  madeIn: bigint;
  outblob: Uint8Array;
}

/** An error as Node's file system throws it. */
export function errno(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/**
 * configfs-tsm as the kernel has it (Documentation/ABI/testing/configfs-tsm-report): files appear
 * with their folder, are write-only or read-only, inblob holds 1 to 64 bytes, every write counts one
 * generation, outblob before inblob is EINVAL, and a report is made anew where the request changed.
 */
export class FakeConfigfsTsm implements TsmFileOps {
  readonly folders = new Map<string, Folder>();
  readonly #options: ConfigfsOptions;
  closed = false;

  constructor(options: ConfigfsOptions = {}) {
    this.#options = options;
  }

  async mkdir(path: string): Promise<void> {
    this.#options.before?.('mkdir', path, this);
    if (this.folders.has(path)) throw errno('EEXIST');
    const none = new Uint8Array(0);
    this.folders.set(path, {
      inblob: undefined,
      privlevel: this.#options.privlevelFloor ?? 0,
      generation: 0n,
      madeIn: -1n,
      outblob: none,
    });
  }

  async rmdir(path: string): Promise<void> {
    this.#options.before?.('rmdir', path, this);
    if (!this.folders.delete(path)) throw errno('ENOENT');
  }

  async writeFile(path: string, data: Uint8Array): Promise<void> {
    this.#options.before?.('write', path, this);
    const [folder, name] = this.#resolve(path);
    if (name === 'inblob') {
      if (data.length > 64) throw errno('EFBIG');
      // Takes effect at close(), where an error is lost.
      if (data.length === 0) return;
      folder.inblob = data.slice();
    } else if (name === 'privlevel') {
      const level = Number(new TextDecoder().decode(data).trim());
      const floor = this.#options.privlevelFloor ?? 0;
      if (!(level >= floor && level <= 3)) throw errno('EINVAL');
      folder.privlevel = level;
    } else {
      throw errno('EACCES');
    }
    folder.generation += 1n;
  }

  async readFile(path: string): Promise<Uint8Array> {
    this.#options.before?.('read', path, this);
    const [folder, name] = this.#resolve(path);
    const text = (value: string) => new TextEncoder().encode(`${value}\n`);
    if (name === 'provider') return text(this.#options.provider ?? 'sev_guest');
    if (name === 'generation') return text(`${folder.generation}`);
    if (name === 'privlevel_floor') return text(`${this.#options.privlevelFloor ?? 0}`);
    if (name === 'outblob') return this.#report(folder);
    if (name === 'auxblob') {
      this.#report(folder);
      return this.#options.auxblob ?? new Uint8Array(0);
    }
    throw errno('EACCES');
  }

  close(): void {
    this.closed = true;
  }

  #report(folder: Folder): Uint8Array {
    if (folder.inblob === undefined) throw errno('EINVAL');
    if (folder.madeIn !== folder.generation) {
      const make = this.#options.report ?? ((data, level) => concat(data, new Uint8Array([level])));
      folder.outblob = make(folder.inblob, folder.privlevel);
      folder.madeIn = folder.generation;
    }
    return folder.outblob;
  }

  #resolve(path: string): readonly [Folder, string] {
    const [name, file] = path.split('/');
    const folder = this.folders.get(name!);
    const missing = file === 'auxblob' && this.#options.provider === 'tdx_guest';
    if (folder === undefined || file === undefined || missing) throw errno('ENOENT');
    return [folder, file];
  }
}
