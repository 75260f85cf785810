import { readFile } from 'node:fs/promises';
import { equalBytes, fromHex, isZero, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { configPcr } from '#core/tpm/measurements.js';
import { crypto } from '#crypto';
import type { TpmConfig } from '../../config-attester.js';
import type { PcrBank, Tpm } from './tpm.js';

/**
 * Measures the config document into its PCR, once for each boot and before anybody else extends it:
 * from then on every quote binds this document, and no later one can take its place.
 * @throws CvmpError TPM_UNAVAILABLE
 */
export async function measureConfigDocument(
  tpm: Tpm,
  bank: PcrBank,
  configDocument: Uint8Array,
): Promise<void> {
  if (isZero(await tpm.readPcr(bank, configPcr))) await tpm.extendPcr(configPcr, configDocument);
}

/**
 * The extensions that make up the quoted value of the config document's PCR: the document, then
 * what systemd says that it extended since.
 * @throws CvmpError CONFIG_MISMATCH where another document, or something else, was first
 */
export async function explainConfigPcr(
  quoted: Uint8Array | undefined,
  configDocument: Uint8Array,
  { bank, measureLogFile }: Pick<TpmConfig, 'bank' | 'measureLogFile'>,
): Promise<readonly Uint8Array[]> {
  const digest = crypto.hash(bank, configDocument);
  const later = await readMeasureLog(measureLogFile, bank);
  const extensions: Uint8Array[] = [];
  let value: Uint8Array = new Uint8Array(digest.length);
  for (const extension of [digest, ...later]) {
    extensions.push(extension);
    value = crypto.hash(bank, value, extension);
    // The log may be ahead of the quote.
    if (quoted !== undefined && equalBytes(value, quoted)) return extensions;
  }
  const found = quoted === undefined ? 'not quoted' : toHex(quoted);
  const message = `PCR ${configPcr} is ${found}, and the config document does not explain it`;
  throw new CvmpError('CONFIG_MISMATCH', message, { field: 'config_document_file' });
}

/** A record of systemd's userspace log (TCG Canonical Event Log, CEL-JSON). */
interface MeasureRecord {
  readonly pcr?: unknown;
  readonly digests?: unknown;
}

/** Digests of this bank that systemd extended into the PCR; what it cannot tell stays unexplained. */
async function readMeasureLog(path: string, bank: PcrBank): Promise<readonly Uint8Array[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new CvmpError('TPM_UNAVAILABLE', `${path} cannot be read`, {
      cause,
      field: 'tpm.measure_log_file',
    });
  }
  // RFC 7464: each record is introduced by a record separator.
  const records = text.split('\x1e').filter((record) => record.trim() !== '');
  return records.flatMap((record) => digestOf(record, bank) ?? []);
}

/** The log is nobody's word: the quote says whether it is right. */
function digestOf(record: string, bank: PcrBank): Uint8Array | undefined {
  try {
    const { pcr, digests } = JSON.parse(record) as MeasureRecord;
    if (pcr !== configPcr || !Array.isArray(digests)) return undefined;
    const entry = digests.find((one) => one?.hashAlg === bank);
    return entry === undefined ? undefined : fromHex(String(entry.digest));
  } catch {
    return undefined;
  }
}
