import { fromUtf8, utf8 } from '#core/bytes.js';
import type { ExtendedReport, ReportRequest } from './guest.js';

/** Names of the guest modules that register a TSM. */
export type TsmProviderName = 'sev_guest' | 'tdx_guest' | 'arm_cca_guest';

/** What configfs-tsm stands on: the guest that reports are about, or none. */
export interface TsmProvider {
  /** `sev_guest` unless told. */
  readonly name?: TsmProviderName;
  report(request: ReportRequest): Promise<ExtendedReport>;
  /** Services of an SVSM above the guest, where there is one (Linux 6.10 and later). */
  serviceReport?(request: ServiceRequest): Promise<ServiceReport>;
}

/** What SVSM_ATTEST_SERVICES and SVSM_ATTEST_SINGLE_SERVICE ask. */
export interface ServiceRequest {
  /** 64 bytes. */
  readonly nonce: Uint8Array;
  /** GUID of one service; undefined: all of them. */
  readonly guid: string | undefined;
  readonly manifestVersion: number;
}

export interface ServiceReport extends ExtendedReport {
  /** What the report was made over, with the nonce. */
  readonly manifest: Uint8Array;
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
  isOfService: boolean;
  guid: string | undefined;
  manifestVersion: number;
  generation: number;
  cached: { readonly generation: number; readonly report: MadeReport } | undefined;
}

type MadeReport = ExtendedReport & Partial<ServiceReport>;
type Access = 'read' | 'write';
type Attributes = Readonly<Record<string, Access>>;

/** Attributes of a folder and what may be done with them (Documentation/ABI/testing/configfs-tsm-report). */
const attributes: Attributes = {
  inblob: 'write',
  outblob: 'read',
  provider: 'read',
  generation: 'read',
};
const sevAttributes: Attributes = {
  ...attributes,
  auxblob: 'read',
  privlevel: 'write',
  privlevel_floor: 'read',
};
const svsmAttributes: Attributes = {
  ...sevAttributes,
  service_provider: 'write',
  service_guid: 'write',
  service_manifest_version: 'write',
  manifestblob: 'read',
};

const guidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function attributesOf(provider: TsmProvider | undefined): Attributes {
  if ((provider?.name ?? 'sev_guest') !== 'sev_guest') return attributes;
  return provider?.serviceReport === undefined ? sevAttributes : svsmAttributes;
}

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
    this.#entries.set(path, {
      inblob: undefined,
      privlevel: 0,
      isOfService: false,
      guid: undefined,
      manifestVersion: 0,
      generation: 0,
      cached: undefined,
    });
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
    } else if (!this.#set(entry, attribute, fromUtf8(data).replace(/\n$/, ''))) {
      throw new TsmError('EINVAL', `write ${path}`);
    }
    entry.generation += 1;
  }

  /** @returns false where the attribute does not take the value */
  #set(entry: Entry, attribute: string, text: string): boolean {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    switch (attribute) {
      case 'privlevel':
        if (!(number >= this.#floor && number <= privlevelMax)) return false;
        entry.privlevel = number;
        return true;
      case 'service_provider':
        entry.isOfService ||= text === 'svsm';
        return text === 'svsm';
      case 'service_guid':
        if (!guidPattern.test(text)) return false;
        entry.guid = text;
        return true;
      default:
        if (Number.isNaN(number)) return false;
        entry.manifestVersion = number;
        return true;
    }
  }

  async readFile(path: string): Promise<Uint8Array> {
    const { entry, attribute } = this.#open(path, 'read');
    switch (attribute) {
      case 'provider':
        return utf8(`${this.#provider?.name ?? 'sev_guest'}\n`);
      case 'generation':
        return utf8(`${entry.generation}\n`);
      case 'privlevel_floor':
        return utf8(`${this.#floor}\n`);
      case 'auxblob':
        return new Uint8Array(this.#auxblob((await this.#report(entry, path)).certTable));
      case 'manifestblob': {
        // Without a service there is none, and reading gives nothing.
        return new Uint8Array((await this.#report(entry, path)).manifest ?? []);
      }
      default:
        return new Uint8Array((await this.#report(entry, path)).report);
    }
  }

  /** There is no connection to end. */
  close(): void {}

  #open(path: string, access: Access): { entry: Entry; attribute: string } {
    const [name = '', attribute = '', ...rest] = path.split('/');
    const entry = this.#entries.get(name);
    const known = attributesOf(this.#provider);
    const allowed = Object.hasOwn(known, attribute) ? known[attribute] : undefined;
    if (entry === undefined || allowed === undefined || rest.length > 0) {
      throw new TsmError('ENOENT', `open ${path}`);
    }
    if (allowed !== access) throw new TsmError('EACCES', `open ${path}`);
    return { entry, attribute };
  }

  async #report(entry: Entry, path: string): Promise<MadeReport> {
    const { inblob, generation, privlevel, cached } = entry;
    if (inblob === undefined) throw new TsmError('EINVAL', `read ${path}`);
    if (cached?.generation === generation) return cached.report;
    if (this.#provider === undefined) throw new TsmError('ENXIO', `read ${path}`);
    if (inblob.length !== reportDataLength) throw new TsmError('EINVAL', `read ${path}`);
    const { isOfService, guid, manifestVersion } = entry;
    if (isOfService && this.#provider.serviceReport !== undefined) {
      // The SVSM answers from VMPL 0, whatever the guest runs at.
      const request = { nonce: inblob, guid, manifestVersion };
      const report = await this.#provider.serviceReport(request);
      entry.cached = { generation, report };
      return report;
    }
    if (privlevel < this.#floor) throw new TsmError('EIO', `read ${path}`);
    const report = await this.#provider.report({ reportData: inblob, vmpl: privlevel });
    entry.cached = { generation, report };
    return report;
  }
}
