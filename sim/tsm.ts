import { fromUtf8, utf8 } from '#core/bytes.js';
import type { ExtendedReport, ReportRequest } from './guest.js';

/** What configfs-tsm stands on: the guest that reports are about, or none. */
export interface TsmProvider {
  report(request: ReportRequest): Promise<ExtendedReport>;
}

export interface TsmOptions {
  /** Lowest privlevel that may be asked for (`privlevel_floor`). */
  readonly privlevelFloor?: number;
  /** What the host adds as `auxblob`; by default the certificate table of the report. */
  readonly auxblob?: (certTable: Uint8Array) => Uint8Array;
}

/** Largest inblob (TSM_INBLOB_MAX). */
const inblobMax = 64;
/** sev-guest takes no other length. */
const reportDataLength = 64;
const privlevelMax = 3;

/** One report folder. */
interface Entry {
  inblob: Uint8Array | undefined;
  privlevel: number;
  generation: number;
  cached: { readonly generation: number; readonly report: ExtendedReport } | undefined;
}

type Access = 'read' | 'write';

/** Attributes of a folder and what may be done with them (Documentation/ABI/testing/configfs-tsm-report). */
const attributes: Readonly<Record<string, Access>> = {
  inblob: 'write',
  outblob: 'read',
  auxblob: 'read',
  provider: 'read',
  generation: 'read',
  privlevel: 'write',
  privlevel_floor: 'read',
};

/** An error as a file operation of Node throws it. */
export class TsmError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/**
 * configfs-tsm in memory, as Linux behaves (drivers/virt/coco/tsm.c with sev-guest behind it):
 * attributes come and go with their folder, each is read-only or write-only, `inblob` takes effect
 * when it is closed, each change raises `generation`, a report is made when it is first read after a
 * change and then kept.
 */
export class SimulatedTsm {
  readonly #provider: TsmProvider | undefined;
  readonly #floor: number;
  readonly #auxblob: (certTable: Uint8Array) => Uint8Array;
  readonly #entries = new Map<string, Entry>();

  /** @param provider undefined: no TSM is registered */
  constructor(provider: TsmProvider | undefined, options: TsmOptions = {}) {
    this.#provider = provider;
    this.#floor = options.privlevelFloor ?? 0;
    this.#auxblob = options.auxblob ?? ((table) => table);
  }

  /** Number of report folders that there are. */
  get size(): number {
    return this.#entries.size;
  }

  async mkdir(path: string): Promise<void> {
    if (path === '' || path.includes('/')) throw new TsmError('EPERM', `mkdir ${path}`);
    if (this.#entries.has(path)) throw new TsmError('EEXIST', `mkdir ${path}`);
    if (this.#provider === undefined) throw new TsmError('ENXIO', `mkdir ${path}`);
    const fresh = { inblob: undefined, privlevel: 0, generation: 0, cached: undefined };
    this.#entries.set(path, fresh);
  }

  async rmdir(path: string): Promise<void> {
    if (!this.#entries.delete(path)) throw new TsmError('ENOENT', `rmdir ${path}`);
  }

  /** Opens, writes all, closes. What fails at close is lost, as it is in Linux. */
  async writeFile(path: string, data: Uint8Array): Promise<void> {
    const { entry, attribute } = this.#open(path, 'write');
    if (attribute === 'inblob') {
      if (data.length > inblobMax) throw new TsmError('EFBIG', `write ${path}`);
      // An empty write leaves nothing to be flushed at close.
      if (data.length === 0) return;
      entry.inblob = new Uint8Array(data);
    } else {
      const text = fromUtf8(data);
      const level = /^\d{1,9}\n?$/.test(text) ? Number(text) : Number.NaN;
      if (!(level >= this.#floor && level <= privlevelMax)) {
        throw new TsmError('EINVAL', `write ${path}`);
      }
      entry.privlevel = level;
    }
    entry.generation += 1;
  }

  async readFile(path: string): Promise<Uint8Array> {
    const { entry, attribute } = this.#open(path, 'read');
    switch (attribute) {
      case 'provider':
        return utf8('sev_guest\n');
      case 'generation':
        return utf8(`${entry.generation}\n`);
      case 'privlevel_floor':
        return utf8(`${this.#floor}\n`);
      case 'auxblob':
        return new Uint8Array(this.#auxblob((await this.#report(entry, path)).certTable));
      default:
        return new Uint8Array((await this.#report(entry, path)).report);
    }
  }

  /** There is no connection to end. */
  close(): void {}

  #open(path: string, access: Access): { entry: Entry; attribute: string } {
    const [name = '', attribute = '', ...rest] = path.split('/');
    const entry = this.#entries.get(name);
    const allowed = Object.hasOwn(attributes, attribute) ? attributes[attribute] : undefined;
    if (entry === undefined || allowed === undefined || rest.length > 0) {
      throw new TsmError('ENOENT', `open ${path}`);
    }
    if (allowed !== access) throw new TsmError('EACCES', `open ${path}`);
    return { entry, attribute };
  }

  async #report(entry: Entry, path: string): Promise<ExtendedReport> {
    const { inblob, generation, privlevel, cached } = entry;
    if (inblob === undefined) throw new TsmError('EINVAL', `read ${path}`);
    if (cached?.generation === generation) return cached.report;
    if (this.#provider === undefined) throw new TsmError('ENXIO', `read ${path}`);
    if (inblob.length !== reportDataLength) throw new TsmError('EINVAL', `read ${path}`);
    if (privlevel < this.#floor) throw new TsmError('EIO', `read ${path}`);
    const report = await this.#provider.report({ reportData: inblob, vmpl: privlevel });
    entry.cached = { generation, report };
    return report;
  }
}
