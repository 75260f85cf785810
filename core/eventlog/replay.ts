import { crypto } from '#crypto';
import { equalBytes, isZero } from '../bytes.js';
import type { HashName } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { eventType } from './event-types.js';
import type { EventLog, LogEvent } from './parse.js';

/** Banks that CVMP believes; SHA-1 is refused. */
export type Bank = Extract<HashName, 'sha256' | 'sha384'>;

export const bankLength: Record<Bank, number> = { sha256: 32, sha384: 48 };

/** PCRs of the dynamic root of trust: all ones until one is launched (TPM 2.0 Part 1, 11.4.4). */
const isDynamic = (register: number) => register >= 17 && register <= 22;

/** What a PCR holds before its first event. */
export function initialPcr(register: number, bank: Bank, startupLocality = 0): Uint8Array {
  const value = new Uint8Array(bankLength[bank]).fill(isDynamic(register) ? 0xff : 0);
  if (register === 0) value[value.length - 1] = startupLocality;
  return value;
}

/** Events that are replayed between two turns of the event loop: well below a millisecond. */
const eventsAtOnce = 256;

/**
 * Replays one bank of a log: what each register that occurs in it must hold.
 * @throws CvmpError EVENT_LOG_MISMATCH where the log has no digests of this bank
 */
export function replay(log: EventLog, bank: Bank): ReadonlyMap<number, Uint8Array> {
  const registers = registersOf(log, bank);
  extend(registers, log, bank, 0, log.events.length);
  return valuesOf(registers, bank);
}

/** Value of a register, and behind it what it is extended by. */
type Registers = Map<number, Uint8Array>;

function registersOf(log: EventLog, bank: Bank): Registers {
  if (log.algorithms.some(({ name }) => name === bank)) return new Map();
  throw new CvmpError('EVENT_LOG_MISMATCH', `the event log has no ${bank} digests`, {
    field: 'event_log',
  });
}

/** Replays the events from `from` to before `to`. */
function extend(registers: Registers, log: EventLog, bank: Bank, from: number, to: number): void {
  const length = bankLength[bank];
  for (const event of log.events.slice(from, to)) {
    if (event.type === eventType.noAction) continue;
    const { register } = event;
    let both = registers.get(register);
    if (both === undefined) {
      both = new Uint8Array(2 * length);
      both.set(initialPcr(register, bank, log.startupLocality));
      registers.set(register, both);
    }
    both.set(digestOf(event, bank), length);
    crypto.extend(bank, both);
  }
}

function valuesOf(registers: Registers, bank: Bank): ReadonlyMap<number, Uint8Array> {
  const length = bankLength[bank];
  return new Map([...registers].map(([register, both]) => [register, both.subarray(0, length)]));
}

/** Digest of an event in a bank that the log has. */
export function digestOf(event: LogEvent, bank: Bank): Uint8Array {
  const digest = event.digest(bank);
  if (digest === undefined) throw new TypeError(`the log has no ${bank} digests`);
  return digest;
}

/**
 * The registers whose values the log explains: replayed value = value that hardware vouches for.
 * A register without events is explained by its initial value. Long logs give their turn away.
 * @param values by register, from a verified quote
 * @throws CvmpError EVENT_LOG_MISMATCH where the log has no digests of this bank
 */
export async function explainedRegisters(
  log: EventLog,
  bank: Bank,
  values: ReadonlyMap<number, Uint8Array>,
): Promise<ReadonlySet<number>> {
  const registers = registersOf(log, bank);
  for (let at = 0; at < log.events.length; at += eventsAtOnce) {
    if (at > 0) await crypto.turn();
    extend(registers, log, bank, at, at + eventsAtOnce);
  }
  const replayed = valuesOf(registers, bank);
  const explained = new Set<number>();
  for (const [register, value] of values) {
    const expected = replayed.get(register) ?? initialPcr(register, bank, log.startupLocality);
    if (equalBytes(expected, value)) explained.add(register);
  }
  return explained;
}

/**
 * The data of an event as far as it was measured: where its digest is the digest of the data. Logs
 * come through the host; any other data in them is hearsay.
 *
 * Older versions of shim log one byte more than they measure of an authority (go-attestation issue
 * 157); what was measured is given then.
 */
export function measuredData(event: LogEvent, bank: Bank): Uint8Array | undefined {
  const { data, type } = event;
  const digest = digestOf(event, bank);
  const candidates = type === eventType.efiVariableAuthority ? [data, data.slice(0, -1)] : [data];
  return candidates.find((candidate) => equalBytes(crypto.hash(bank, candidate), digest));
}

/** True for a register that nothing was ever extended into. */
export function isUntouched(register: number, value: Uint8Array): boolean {
  return isDynamic(register) ? value.every((byte) => byte === 0xff) : isZero(value);
}
