import type { EventLog } from '../eventlog/parse.js';
import { explainedRegisters } from '../eventlog/replay.js';
import { readSecureBoot, type SecureBoot } from '../eventlog/secure-boot.js';
import type { TdReport } from './report.js';

/** What a CC event log explains of the runtime measurement registers. */
export interface TdMeasurements {
  /** Numbers of the RTMRs whose value the log explains. */
  readonly explained: ReadonlySet<number>;
  readonly secureBoot: SecureBoot;
}

/** Register 0 of a CC event log is MRTD, n + 1 is RTMRn (UEFI 38.4.1, CC measurement registers). */
const registerOf = (rtmr: number) => rtmr + 1;
/** RTMR0 holds what PCRs 1 and 7 hold elsewhere. */
const secureBootRtmr = 0;

/**
 * Holds a log against the registers of a verified quote.
 * @throws CvmpError EVENT_LOG_MISMATCH where the log has no SHA-384 digests
 */
export async function explainRtmrs(td: TdReport, log: EventLog): Promise<TdMeasurements> {
  const values = new Map(td.rtmr.map((value, rtmr) => [registerOf(rtmr), value]));
  const registers = await explainedRegisters(log, 'sha384', values);
  const explained = new Set([0, 1, 2, 3].filter((rtmr) => registers.has(registerOf(rtmr))));
  const secureBoot = explained.has(secureBootRtmr)
    ? readSecureBoot(log, 'sha384', registerOf(secureBootRtmr))
    : ({ state: 'unknown', why: 'the event log does not explain RTMR0' } as const);
  return { explained, secureBoot };
}

/** Without a log nothing is explained but registers that were never extended. */
export function withoutLog(td: TdReport): TdMeasurements {
  const untouched = [0, 1, 2, 3].filter((rtmr) => td.rtmr[rtmr]!.every((byte) => byte === 0));
  return {
    explained: new Set(untouched),
    secureBoot: { state: 'unknown', why: 'there is no event log' },
  };
}
