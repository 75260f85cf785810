import type { TpmMaterial } from '#core/tpm/evidence.js';
import { configPcr } from '#core/tpm/measurements.js';
import { crypto } from '#crypto';
import type { TpmConfig } from '../../config-attester.js';
import type { AttesterOptions } from '../attester.js';
import { readLogFile } from '../log-file.js';
import { explainConfigPcr } from './config-register.js';
import type { AttestationKey } from './keys.js';
import type { Tpm } from './tpm.js';

/** A TPM that has measured the config document, ready to quote. */
export interface MeasuredTpm {
  readonly tpm: Tpm;
  readonly config: TpmConfig;
  readonly options: AttesterOptions;
  readonly nvIndices: ReadonlySet<number>;
}

/**
 * A quote over the hash of the report data (there is no room for all of it), with everything that
 * explains it.
 * @throws CvmpError CONFIG_MISMATCH, TSM_BUSY, TPM_UNAVAILABLE, MALFORMED
 */
export async function quoteOver(
  { tpm, config, options }: MeasuredTpm,
  ak: Pick<AttestationKey, 'object'>,
  reportData: Uint8Array,
): Promise<TpmMaterial> {
  const { bank, pcrs, eventLogFile } = config;
  const quoted = await tpm.quote(ak.object, bank, pcrs, crypto.hash(bank, reportData));
  await tpm.tools.flush();
  const eventLog = await readLogFile(eventLogFile, 'TPM_UNAVAILABLE');
  const { configDocument } = options;
  const configExtensions = await explainConfigPcr(
    quoted.pcrs.get(configPcr),
    configDocument,
    config,
  );
  return { ...quoted, configExtensions, ...(eventLog === undefined ? {} : { eventLog }) };
}
