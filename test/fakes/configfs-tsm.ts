import type { Attester } from '#agent/attester/attester.js';
import type { TsmFileOps } from '#agent/attester/tsm.js';
import { openTsmAttester, type TsmAttesterConfig } from '#agent/attester/tsm-attester.js';
import { crypto } from '#crypto';
import { encodeReport } from '#sim/report.js';
import { SimulatedTsm, TsmError, type TsmOptions, type TsmProvider } from '#sim/tsm.js';

/** configfs-tsm of a guest that a hostile or unlucky environment reaches into. */
export interface Interference {
  /** Runs before each operation; what it throws is what the operation gives. */
  readonly before?: (operation: string, path: string, tsm: SimulatedTsm) => Promise<void> | void;
  /** Answers a read in the place of the kernel. */
  readonly instead?: (path: string) => string | undefined;
  /** The report that the firmware makes; unsigned, over what was asked for, unless told. */
  readonly report?: (reportData: Uint8Array, vmpl: number) => Uint8Array | Promise<Uint8Array>;
  readonly certTable?: Uint8Array;
  readonly hostData?: Uint8Array;
  /** Another guest module than sev-guest, or an SVSM above it. */
  readonly provider?: Pick<TsmProvider, 'name' | 'serviceReport'>;
}

/** The simulator's configfs-tsm with every operation open to interference. */
export class InterceptedTsm implements TsmFileOps {
  readonly tsm: SimulatedTsm;
  readonly #with: Interference;
  closed = false;

  constructor(interference: Interference = {}, options: TsmOptions = {}) {
    this.#with = interference;
    const { hostData = new Uint8Array(32), certTable = new Uint8Array(0) } = interference;
    const make =
      interference.report ??
      ((reportData, vmpl) =>
        encodeReport({ VERSION: 5, VMPL: vmpl, REPORT_DATA: reportData, HOST_DATA: hostData }));
    this.tsm = new SimulatedTsm(
      {
        ...interference.provider,
        report: async ({ reportData, vmpl }) => ({
          report: await make(reportData, vmpl),
          certTable,
        }),
      },
      options,
    );
  }

  async mkdir(path: string): Promise<void> {
    await this.#with.before?.('mkdir', path, this.tsm);
    await this.tsm.mkdir(path);
  }

  async rmdir(path: string): Promise<void> {
    await this.#with.before?.('rmdir', path, this.tsm);
    await this.tsm.rmdir(path);
  }

  async writeFile(path: string, data: Uint8Array): Promise<void> {
    await this.#with.before?.('write', path, this.tsm);
    await this.tsm.writeFile(path, data);
  }

  async readFile(path: string): Promise<Uint8Array> {
    await this.#with.before?.('read', path, this.tsm);
    const text = this.#with.instead?.(path);
    return text === undefined ? this.tsm.readFile(path) : new TextEncoder().encode(text);
  }

  close(): void {
    this.closed = true;
  }
}

/** Configuration of a TSM attester that asks for nothing special. */
export const plainTsm: TsmAttesterConfig = {
  provider: undefined,
  privlevel: undefined,
  service: undefined,
  eventLogFile: '/nonexistent/CCEL',
};

/** The agent's attester over an SNP guest that binds this config document. */
export function snpAttester(configDocument: Uint8Array): Attester {
  const tsm = new InterceptedTsm({ hostData: crypto.hash('sha256', configDocument) });
  const options = {
    configDocument,
    randomBytes: crypto.randomBytes,
    sleep: () => Promise.resolve(),
  };
  const open = () => openTsmAttester(tsm, plainTsm, options);
  return {
    profiles: ['snp'],
    evidence: async (reportData) => (await open()).evidence(reportData),
    close: () => tsm.close(),
  };
}

/** Fails the first `times` operations on a file of the report folder, or on the folder itself. */
export function failingTsm(
  operation: string,
  file: string,
  errno: string,
  times = Number.POSITIVE_INFINITY,
): InterceptedTsm {
  let left = times;
  return new InterceptedTsm({
    before: (op, path) => {
      const matches = op === operation && (path.split('/')[1] ?? '') === file;
      if (matches && left-- > 0) throw new TsmError(errno, path);
    },
  });
}
