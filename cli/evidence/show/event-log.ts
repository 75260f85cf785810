import { toHex } from '#core/bytes.js';
import { eventTypeName } from '#core/eventlog/event-types.js';
import { type EventLog, type LogEvent, parseEventLog } from '#core/eventlog/parse.js';
import { type Bank, measuredData, replay } from '#core/eventlog/replay.js';
import type { Tree } from '../tree.js';

/** Bytes of an event's data that are shown. */
const dataShown = 48;

/** Every event of a log, and what its registers must hold. */
export function eventLogTree(bytes: Uint8Array): Tree {
  const log = parseEventLog(bytes);
  return {
    digests: log.algorithms.map(({ name }) => name).join(' '),
    ...Object.fromEntries(log.events.map((event, i) => [`event ${i + 1}`, eventTree(event, log)])),
    ...Object.fromEntries(banksOf(log).map((bank) => [`replayed ${bank}`, replayTree(log, bank)])),
  };
}

function eventTree(event: LogEvent, log: EventLog): Tree {
  const { register, type, data } = event;
  const [bank] = banksOf(log);
  return {
    register,
    type: eventTypeName(type),
    ...Object.fromEntries(
      log.algorithms.map(({ name }) => [name, toHex(event.digest(name) ?? new Uint8Array())]),
    ),
    data: dataText(data),
    measured: bank === undefined ? 'not told' : measuredText(event, bank),
  };
}

/** Data is the host's word but where the digest is its digest. */
function measuredText(event: LogEvent, bank: Bank): string {
  return measuredData(event, bank) === undefined ? 'the data is only said' : 'the data itself';
}

function dataText(data: Uint8Array): string {
  const shown = data.slice(0, dataShown);
  const rest = data.length > dataShown ? `… (${data.length} bytes)` : '';
  const isText = shown.length > 0 && shown.every((byte) => byte >= 0x20 && byte < 0x7f);
  return `${isText ? `"${String.fromCharCode(...shown)}"` : toHex(shown)}${rest}`;
}

const banksOf = (log: EventLog): Bank[] =>
  (['sha256', 'sha384'] as const).filter((bank) =>
    log.algorithms.some(({ name }) => name === bank),
  );

function replayTree(log: EventLog, bank: Bank): Tree {
  const registers = [...replay(log, bank)].sort(([a], [b]) => a - b);
  return Object.fromEntries(
    registers.map(([register, value]) => [`register ${register}`, toHex(value)]),
  );
}
