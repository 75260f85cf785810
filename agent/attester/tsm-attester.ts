import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type CmwCollection, encodeCmw } from '#core/rats/cmw.js';
import { requireConfigDocument } from '#core/rats/verify.js';
import type { TsmConfig, TsmProvider } from '../config-attester.js';
import type { Attester, AttesterOptions } from './attester.js';
import { type HardwareKind, hardwareKinds, isTsmProvider, type OwnReport } from './hardware.js';
import { readLogFile } from './log-file.js';
import { readTsmProvider, readTsmReport, type TsmFileOps, type TsmReport } from './tsm.js';

export type TsmAttesterConfig = Pick<
  TsmConfig,
  'provider' | 'privlevel' | 'service' | 'eventLogFile'
>;

/**
 * Evidence of the hardware by configfs-tsm: SEV-SNP, TDX or CCA, as the provider says.
 * @throws CvmpError TSM_UNAVAILABLE, TSM_BUSY
 */
export async function openTsmAttester(
  tsm: TsmFileOps,
  config: TsmAttesterConfig,
  options: AttesterOptions,
): Promise<Attester> {
  const provider = await readTsmProvider(tsm, options.randomBytes);
  const kind = hardwareKinds[requireProvider(provider, config.provider)];
  return {
    profiles: [kind.profile],
    async evidence(reportData) {
      const report = await obtainReport(tsm, config, options, reportData);
      requireOwn(kind, report, reportData, options);
      return encodeCmw(await collect(kind, report, config));
    },
    close: () => tsm.close(),
  };
}

/** @throws CvmpError TSM_UNAVAILABLE */
export function requireProvider(found: string, pinned: TsmProvider | undefined): TsmProvider {
  if (isTsmProvider(found) && (pinned === undefined || pinned === found)) return found;
  const wanted = pinned ?? Object.keys(hardwareKinds).join(', ');
  throw new CvmpError('TSM_UNAVAILABLE', `the TSM is ${found}, not ${wanted}`, {
    field: 'provider',
  });
}

/** @throws CvmpError TSM_UNAVAILABLE, TSM_BUSY */
export async function obtainReport(
  tsm: TsmFileOps,
  { privlevel, service, provider }: TsmAttesterConfig,
  { randomBytes }: AttesterOptions,
  reportData: Uint8Array,
): Promise<TsmReport> {
  const report = await readTsmReport(tsm, reportData, { privlevel, service, randomBytes });
  requireProvider(report.provider, provider);
  return report;
}

/**
 * The report binds the config document, and was made over this.
 * @throws CvmpError CONFIG_MISMATCH, TSM_BUSY, TSM_UNAVAILABLE
 */
export function requireOwn(
  kind: HardwareKind,
  report: TsmReport,
  reportData: Uint8Array,
  { configDocument }: AttesterOptions,
): void {
  const own = readOwnReport(kind, report);
  requireConfigDocument(own.configBinding, configDocument);
  if (!equalBytes(own.reportData, reportData)) {
    throw new CvmpError('TSM_BUSY', 'the report was made over other data', { field: 'outblob' });
  }
}

function readOwnReport(kind: HardwareKind, { outblob }: TsmReport): OwnReport {
  try {
    return kind.readOwn(outblob);
  } catch (cause) {
    const message = `outblob is no ${kind.profile} evidence`;
    throw new CvmpError('TSM_UNAVAILABLE', message, { cause, field: 'outblob' });
  }
}

async function collect(
  kind: HardwareKind,
  report: TsmReport,
  { eventLogFile }: TsmAttesterConfig,
): Promise<CmwCollection> {
  const log = kind.hasEventLog ? await readLogFile(eventLogFile, 'TSM_UNAVAILABLE') : undefined;
  return kind.collect(report, log);
}
