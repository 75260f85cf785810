import { equalBytes, toHex } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { CvmpError } from '#core/errors.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { snpCollection } from '#core/snp/evidence.js';
import { parseReport, type SnpReport } from '#core/snp/parse.js';
import { crypto } from '#crypto';
import type { TsmConfig } from '../config.js';
import { readTsmReport, type TsmFileOps } from './tsm.js';
import { fileSystemTsm } from './tsm-fs.js';
import { socketTsm } from './tsm-socket.js';

/** Makes evidence of this CVM. */
export interface Attester {
  /** Labels of the evidence that it makes. */
  readonly profiles: readonly string[];
  /**
   * @param reportData 64 bytes that the report is to be made over
   * @returns CMW collection
   * @throws CvmpError CONFIG_MISMATCH, TSM_UNAVAILABLE, TSM_BUSY
   */
  evidence(reportData: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

export interface AttesterOptions {
  /** Every report must bind this document. */
  readonly configDocument: Uint8Array;
  /** VMPL to ask for; undefined: the provider's default. */
  readonly privlevel: number | undefined;
  readonly randomBytes: (length: number) => Uint8Array;
}

/** The file operations that the configuration names. */
export function openTsm(config: TsmConfig): TsmFileOps {
  return config.kind === 'socket' ? socketTsm(config.path) : fileSystemTsm(config.path);
}

/** SEV-SNP reports by configfs-tsm. */
export function createAttester(tsm: TsmFileOps, options: AttesterOptions): Attester {
  const hostData = crypto.hash('sha256', options.configDocument);
  return {
    profiles: ['snp'],
    async evidence(reportData) {
      const { provider, outblob, auxblob } = await readTsmReport(tsm, reportData, options);
      if (provider !== 'sev_guest') {
        throw new CvmpError('TSM_UNAVAILABLE', `${provider} makes no SEV-SNP report`, {
          field: 'provider',
        });
      }
      const report = readOwnReport(outblob);
      if (!equalBytes(report.hostData, hostData)) {
        const found = toHex(report.hostData);
        throw new CvmpError('CONFIG_MISMATCH', `HOST_DATA is ${found}, not the document's digest`);
      }
      if (!equalBytes(report.reportData, reportData)) {
        throw new CvmpError('TSM_BUSY', 'the report was made over other data', {
          field: 'outblob',
        });
      }
      return encodeCmw(snpCollection(outblob, auxblob));
    },
    close: () => tsm.close(),
  };
}

function readOwnReport(outblob: Uint8Array): SnpReport {
  try {
    return parseReport(outblob);
  } catch (cause) {
    throw new CvmpError('TSM_UNAVAILABLE', 'outblob is no report', { cause, field: 'outblob' });
  }
}

/**
 * The agent's first act: what it believes must be what the hardware says, before it talks to
 * anyone. The report stays here; a label of its own makes it worthless elsewhere.
 * @throws CvmpError as {@link Attester.evidence}
 */
export async function checkOwnReport(
  attester: Attester,
  randomBytes: (length: number) => Uint8Array,
): Promise<void> {
  const reportData = crypto.hash('sha512', encode(['CVMP/1 self-check', randomBytes(32)]));
  await attester.evidence(reportData);
}
