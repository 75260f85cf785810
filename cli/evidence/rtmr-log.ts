import { concat, equalBytes, fromHex, fromUtf8, utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { eventTypeName } from '#core/eventlog/event-types.js';
import { crypto } from '#crypto';
import type { Tree } from './tree.js';

// Event log of a TD as JSON, as guests under dstack and others write it: a list of
// {imr, event_type, digest, event, event_payload}; imr 0 to 3 is RTMR0 to RTMR3.

interface RtmrEvent {
  readonly imr: number;
  readonly event_type: number;
  /** SHA-384 in hex. */
  readonly digest: string;
  readonly event: string;
  /** In hex; may be left out. */
  readonly event_payload?: string;
}

/** Events that the guest extends at run time; what their digest is over is known. */
const runtimeEvent = 0x08000001;

/** Whether JSON has the form of such a log. */
export function isRtmrLog(json: unknown): json is readonly RtmrEvent[] {
  return (
    Array.isArray(json) &&
    json.length > 0 &&
    json.every(
      (event) =>
        typeof event === 'object' &&
        event !== null &&
        Number.isInteger(event.imr) &&
        Number.isInteger(event.event_type) &&
        typeof event.digest === 'string',
    )
  );
}

/** @throws CvmpError MALFORMED */
function readLog(bytes: Uint8Array): readonly RtmrEvent[] {
  const json: unknown = JSON.parse(fromUtf8(bytes, 'event_log'));
  if (isRtmrLog(json)) return json;
  throw new CvmpError('MALFORMED', 'the event log is no list of events', { field: 'event_log' });
}

/** Stops another name or payload under the digest of a runtime event. */
function requireRuntimeDigest(event: RtmrEvent, digest: Uint8Array, i: number): void {
  const { event_type: type, event: name, event_payload: payload } = event;
  if (type !== runtimeEvent || payload === undefined) return;
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, type, true);
  const head = concat(number, utf8(`:${name}:`));
  const measured = crypto.hash('sha384', head, fromHex(payload, `event_log[${i}].event_payload`));
  if (equalBytes(measured, digest)) return;
  const what = `event ${i + 1} of the log has another digest than its payload`;
  throw new CvmpError('EVENT_LOG_MISMATCH', what, { field: 'event_log' });
}

/** What each RTMR that occurs must hold. @throws CvmpError MALFORMED, EVENT_LOG_MISMATCH */
export function replayRtmrLog(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const registers = new Map<number, Uint8Array>();
  for (const [i, event] of readLog(bytes).entries()) {
    const { imr, digest } = event;
    const value = fromHex(digest, `event_log[${i}].digest`);
    if (imr < 0 || imr > 3 || value.length !== 48) {
      throw new CvmpError('MALFORMED', `event ${i + 1} of the log extends no RTMR`, {
        field: 'event_log',
      });
    }
    requireRuntimeDigest(event, value, i);
    registers.set(imr, crypto.hash('sha384', registers.get(imr) ?? new Uint8Array(48), value));
  }
  return registers;
}

/** Every event under its number. @throws CvmpError MALFORMED */
export function rtmrLogTree(bytes: Uint8Array): Tree {
  return Object.fromEntries(
    readLog(bytes).map(({ imr, event_type: type, digest, event }, i) => [
      `event ${i + 1}`,
      { register: `RTMR${imr}`, type: eventTypeName(type), sha384: digest, event: event ?? '' },
    ]),
  );
}
