import { extendAll, type MeasuredEvent } from '#core/boot/measured-event.js';
import { equalBytes, toHex } from '#core/bytes.js';
import { eventTypeName } from '#core/eventlog/event-types.js';
import { type EventLog, parseEventLog } from '#core/eventlog/parse.js';
import { type Bank, replay } from '#core/eventlog/replay.js';
import { fields, type Json, type Output, table } from '../terminal/output.js';
import type { Inputs } from './inputs.js';

/** A register as it is predicted, or taken from a log, or neither. */
export interface Register {
  /** `MRTD`, `RTMR0`, `PCR 4` */
  readonly name: string;
  readonly value: Uint8Array | undefined;
  readonly source: 'predicted' | 'event log' | 'not predicted';
  /** Why it is not predicted, or what the log has else. */
  readonly note: string;
  readonly events: readonly MeasuredEvent[];
}

/** A prediction: what it is of, and its events where there are any. */
export interface Foreseen {
  readonly name: string;
  readonly value: Uint8Array | undefined;
  readonly why: string;
  readonly events: readonly MeasuredEvent[];
}

/** The log of a boot that somebody trusts: what it replays to, by register. */
export async function readLog(
  inputs: Inputs,
  typed: string | undefined,
  bank: Bank,
): Promise<
  { readonly log: EventLog; readonly values: ReadonlyMap<number, Uint8Array> } | undefined
> {
  if (typed === undefined) return undefined;
  const log = parseEventLog(await inputs.file('event log', typed));
  return { log, values: replay(log, bank) };
}

/**
 * Holds a prediction against the log of a boot: what cannot be predicted comes from the log, and
 * where both have a value it is said whether they agree.
 * @param inLog events of the register that a log of the boot has
 */
export function register(
  foreseen: Foreseen,
  logged: Uint8Array | undefined,
  inLog: readonly MeasuredEvent[],
  bank: Bank,
): Register {
  const { name, value, why, events } = foreseen;
  if (value === undefined) {
    if (logged === undefined)
      return { name, value, source: 'not predicted', note: why, events: [] };
    return { name, value: logged, source: 'event log', note: '', events: [] };
  }
  if (logged === undefined) return { name, value, source: 'predicted', note: '', events };
  const agrees = equalBytes(logged, extendAll(inLog, bank));
  const note = agrees ? 'as in the event log' : `the event log has ${toHex(logged)}`;
  return { name, value, source: 'predicted', note, events };
}

/** Tables for people: registers, their events where asked, and every input. */
export function predictionOutput(
  registers: readonly Register[],
  inputs: Inputs,
  options: { readonly bank: Bank; readonly events: boolean; readonly more?: Record<string, Json> },
): Output {
  const { bank } = options;
  const json = {
    ...options.more,
    registers: registers.map(({ name, value, source, note, events }) => ({
      name,
      value: value === undefined ? null : toHex(value),
      source,
      note,
      events: events.map(({ type, what, digest }) => ({
        type: eventTypeName(type),
        what,
        digest: toHex(digest(bank)),
      })),
    })),
    inputs: inputs.rows.map(({ name, value }) => ({ name, value })),
  };
  const rows = registers.map(({ name, value, source, note }) => [
    name,
    source,
    value === undefined ? note : toHex(value),
  ]);
  const parts = [table(['REGISTER', 'FROM', 'VALUE'], rows)];
  const notes = registers.filter(({ value, note }) => value !== undefined && note !== '');
  if (notes.length > 0) parts.push(fields(notes.map(({ name, note }) => [name, note])));
  if (options.events) parts.push(eventTable(registers, bank));
  parts.push(inputText(inputs));
  return { json, text: parts.join('\n\n') };
}

function eventTable(registers: readonly Register[], bank: Bank): string {
  const rows = registers.flatMap(({ name, events }) =>
    events.map(({ what, digest }) => [name, what, toHex(digest(bank))]),
  );
  return table(['REGISTER', 'EVENT', 'DIGEST'], rows);
}

/** Every input on its line. */
export function inputText(inputs: Inputs): string {
  return fields(inputs.rows.map(({ name, value }) => [name, value]));
}
