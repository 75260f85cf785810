import { crypto } from '#crypto';
import { concat, equalBytes } from '../bytes.js';
import { CvmpError } from '../errors.js';
import type { EventLog } from '../eventlog/parse.js';
import {
  type Bank,
  bankLength,
  explainedRegisters,
  initialPcr,
  isUntouched,
} from '../eventlog/replay.js';
import { readSecureBoot, type SecureBoot, secureBootPcr } from '../eventlog/secure-boot.js';
import type { ConfigBinding } from '../rats/claims.js';
import type { Measurements } from './claims.js';
import type { TpmEvidence } from './evidence.js';
import type { PcrValues } from './quote.js';
import { requireBank, requireLengths, verifyPcrDigest, verifyQuoteSignature } from './quote.js';

/**
 * PCR that the agent extends by the digest of the config document, before anybody else extends it:
 * systemd's PCR for system identity, which no firmware and no boot loader uses.
 */
export const configPcr = 15;

/** PCRs that say what was booted: firmware, configuration, boot loader or UKI, command line. */
const launchPcrs: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 11, 12];

/**
 * Steps 2 and 5 to 8 (protocol.md s.4): signature, selection, PCR values, event log.
 * @param akSpki of an AK that is trusted already
 * @throws CvmpError EVIDENCE_SIGNATURE_INVALID, PCR_SELECTION, PCR_MISMATCH, EVENT_LOG_MISMATCH,
 *   MALFORMED
 */
export async function verifyMeasurements(
  { quote, signature, pcrs, configExtensions, eventLog }: TpmEvidence,
  akSpki: Uint8Array,
): Promise<Measurements> {
  await verifyQuoteSignature(quote, signature, akSpki);
  const bank = requireBank(quote);
  requireLengths(pcrs, bank);
  verifyPcrDigest(quote, signature.hash, pcrs);
  const explained = new Set(await explainedPcrs(pcrs, bank, eventLog));
  if (isConfigExplained(pcrs, bank, configExtensions)) explained.add(configPcr);
  return { quote, bank, pcrs, explained, secureBoot: provenSecureBoot(eventLog, bank, explained) };
}

async function explainedPcrs(
  pcrs: PcrValues,
  bank: Bank,
  eventLog: EventLog | undefined,
): Promise<Iterable<number>> {
  if (eventLog !== undefined) return explainedRegisters(eventLog, bank, pcrs);
  return [...pcrs].flatMap(([pcr, value]) => (isUntouched(pcr, value) ? [pcr] : []));
}

function isConfigExplained(
  pcrs: PcrValues,
  bank: Bank,
  extensions: readonly Uint8Array[],
): boolean {
  if (extensions.some(({ length }) => length !== bankLength[bank])) return false;
  const replayed = extensions.reduce(
    (value, digest) => crypto.hash(bank, value, digest),
    initialPcr(configPcr, bank),
  );
  const quoted = pcrs.get(configPcr);
  return quoted !== undefined && equalBytes(quoted, replayed);
}

function provenSecureBoot(
  eventLog: EventLog | undefined,
  bank: Bank,
  explained: ReadonlySet<number>,
): SecureBoot {
  if (eventLog === undefined) return { state: 'unknown', why: 'there is no event log' };
  if (!explained.has(secureBootPcr)) {
    return { state: 'unknown', why: 'the event log does not explain PCR 7' };
  }
  return readSecureBoot(eventLog, bank);
}

/**
 * The config document that the agent measured first of all into its PCR. The event log may explain
 * that PCR by itself; what the agent names must.
 * @throws CvmpError EVENT_LOG_MISMATCH where the quote does not prove it
 */
export function configBindingOf(
  { bank, pcrs }: Measurements,
  { configExtensions }: TpmEvidence,
): ConfigBinding {
  const [digest] = configExtensions;
  if (digest === undefined || !isConfigExplained(pcrs, bank, configExtensions)) {
    const message = `PCR ${configPcr} does not hold the extensions that the agent names`;
    throw new CvmpError('EVENT_LOG_MISMATCH', message, { field: 'tpm.config_extensions' });
  }
  return { field: 'PCR 15', hash: bank, digest };
}

/** A name of what was booted: SHA-384 over the quoted PCRs of the boot in order (48 bytes). */
export function launchMeasurementOf({ pcrs }: Measurements): Uint8Array {
  const values = launchPcrs.flatMap((pcr) => pcrs.get(pcr) ?? []);
  return crypto.hash('sha384', concat(...values));
}
