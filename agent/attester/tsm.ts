import { fromUtf8, toHex, utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';

/** The file operations that configfs-tsm needs. Paths are below the report folder; a failure is an
 *  error whose `code` is the errno name, as Node's file system throws it. */
export interface TsmFileOps {
  mkdir(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  /** Opens, writes all, closes. */
  writeFile(path: string, data: Uint8Array): Promise<void>;
  /** Reads to the end: files of configfs say that they are empty. */
  readFile(path: string): Promise<Uint8Array>;
  /** Ends a connection behind the operations, where there is one. */
  close(): void;
}

/** A report as the kernel gave it. */
export interface TsmReport {
  /** "sev_guest", "tdx_guest", "arm_cca_guest". */
  readonly provider: string;
  /** The report. */
  readonly outblob: Uint8Array;
  /** Certificate table of the host; empty where it supplies none. */
  readonly auxblob: Uint8Array;
  /** Manifest of the services that were asked for; empty where none was. */
  readonly manifestblob: Uint8Array;
}

/** What an SVSM is asked to attest. */
export interface TsmService {
  /** GUID of one service; undefined: all of them. */
  readonly guid: string | undefined;
  readonly manifestVersion: number;
}

export interface TsmOptions {
  /** VMPL to ask for; undefined: the provider's default. */
  readonly privlevel: number | undefined;
  /** A report of the SVSM over its services, not of the guest itself. */
  readonly service?: TsmService | undefined;
  readonly randomBytes: (length: number) => Uint8Array;
}

/** Another program cannot disturb a folder with a random name, but a migration can. */
const attemptsMax = 4;
const reportDataBytes = 64;

/**
 * Obtains a report over `reportData` (64 bytes) through configfs-tsm (Linux
 * Documentation/ABI/testing/configfs-tsm-report).
 * @throws CvmpError TSM_UNAVAILABLE, TSM_BUSY
 */
export async function readTsmReport(
  ops: TsmFileOps,
  reportData: Uint8Array,
  options: TsmOptions,
): Promise<TsmReport> {
  if (reportData.length !== reportDataBytes) {
    throw new TypeError(`report data has ${reportData.length} bytes, not ${reportDataBytes}`);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptReport(ops, reportData, options);
    } catch (error) {
      const again = error instanceof CvmpError && error.code === 'TSM_BUSY';
      if (!again || attempt === attemptsMax) throw error;
    }
  }
}

/**
 * Who makes the reports here ("sev_guest").
 * @throws CvmpError TSM_UNAVAILABLE, TSM_BUSY
 */
export function readTsmProvider(
  ops: TsmFileOps,
  randomBytes: (length: number) => Uint8Array,
): Promise<string> {
  return inFolder(ops, randomBytes, (folder) => readProvider(ops, folder));
}

/** Works in a folder of its own, which goes away whatever happens. */
async function inFolder<T>(
  ops: TsmFileOps,
  randomBytes: (length: number) => Uint8Array,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = `cvmp-${toHex(randomBytes(8))}`;
  await coded('mkdir', ops.mkdir(folder));
  try {
    return await work(folder);
  } finally {
    // A folder that cannot be removed is no reason to refuse a good report.
    await ops.rmdir(folder).catch(() => {});
  }
}

async function readProvider(ops: TsmFileOps, folder: string): Promise<string> {
  const provider = await coded('provider', ops.readFile(`${folder}/provider`));
  return fromUtf8(provider).replace(/\n$/, '');
}

/** Options in the order of writing; each must be there before the report is asked for. */
function optionFiles({ privlevel, service }: TsmOptions): readonly [string, string][] {
  const files: [string, string][] = [];
  if (privlevel !== undefined) files.push(['privlevel', `${privlevel}`]);
  if (service !== undefined) {
    files.push(['service_provider', 'svsm']);
    if (service.guid !== undefined) files.push(['service_guid', service.guid]);
    files.push(['service_manifest_version', `${service.manifestVersion}`]);
  }
  return files;
}

async function attemptReport(
  ops: TsmFileOps,
  reportData: Uint8Array,
  options: TsmOptions,
): Promise<TsmReport> {
  return inFolder(ops, options.randomBytes, async (folder) => {
    for (const [file, text] of optionFiles(options)) {
      await coded(file, ops.writeFile(`${folder}/${file}`, utf8(text)));
    }
    const before = await readGeneration(ops, folder);
    await coded('inblob', ops.writeFile(`${folder}/inblob`, reportData));
    // What was written takes effect when the file is closed, and an error there is lost: only the
    // generation tells that this request, and no other, is what the report will be made over.
    await expectGeneration(ops, folder, before + 1n);
    const outblob = await coded('outblob', ops.readFile(`${folder}/outblob`));
    const auxblob = await readAuxblob(ops, folder);
    const manifestblob =
      options.service === undefined
        ? new Uint8Array(0)
        : await coded('manifestblob', ops.readFile(`${folder}/manifestblob`));
    const provider = await readProvider(ops, folder);
    await expectGeneration(ops, folder, before + 1n);
    return { provider, outblob, auxblob, manifestblob };
  });
}

/** The certificate table is optional: absent, empty, or (TDX) not a file at all. */
async function readAuxblob(ops: TsmFileOps, folder: string): Promise<Uint8Array> {
  try {
    return await ops.readFile(`${folder}/auxblob`);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return new Uint8Array(0);
    throw tsmError('auxblob', error);
  }
}

async function readGeneration(ops: TsmFileOps, folder: string): Promise<bigint> {
  const text = fromUtf8(await coded('generation', ops.readFile(`${folder}/generation`)));
  if (!/^[0-9]{1,20}\n$/.test(text)) {
    throw new CvmpError('TSM_UNAVAILABLE', 'generation is not a number', { field: 'generation' });
  }
  return BigInt(text.trim());
}

async function expectGeneration(ops: TsmFileOps, folder: string, expected: bigint): Promise<void> {
  const found = await readGeneration(ops, folder);
  if (found !== expected) {
    const what = `generation is ${found}, not ${expected}: the request was lost or changed`;
    throw new CvmpError('TSM_BUSY', what, { field: 'generation' });
  }
}

async function coded<T>(file: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (error) {
    throw tsmError(file, error);
  }
}

/** What an errno means at configfs-tsm. */
const meanings: Readonly<Record<string, string>> = {
  ENXIO: 'no TSM is registered: the guest module is not loaded, or this is not a CVM',
  ENOENT: 'configfs-tsm is not mounted, or this kernel lacks the file',
  EACCES: 'the agent may not use it',
  EPERM: 'the agent may not use it',
  EINVAL: 'the provider does not accept the value, or was asked too early',
  EFBIG: 'a value is larger than it may be',
  EIO: 'the security processor answered with an error',
  ETIMEDOUT: "the host's quoting service did not answer",
  ECONNREFUSED: 'nobody serves the socket',
};

/** Somebody else was there at the same time; the next attempt has a folder of its own again. */
const passing: readonly string[] = [
  'EBUSY',
  'EAGAIN',
  'EWOULDBLOCK',
  'EINTR',
  'EEXIST',
  'ETIMEDOUT',
];

function tsmError(file: string, cause: unknown): unknown {
  if (cause instanceof CvmpError) return cause;
  const errno = errnoOf(cause);
  if (errno === undefined) return cause;
  const code = passing.includes(errno) ? 'TSM_BUSY' : 'TSM_UNAVAILABLE';
  const meaning = meanings[errno] ?? 'it failed';
  return new CvmpError(code, `${file}: ${errno}: ${meaning}`, { cause, field: file });
}

function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' && !(error instanceof CvmpError) ? code : undefined;
}
