import { equalBytes, fromHex, toHex, utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type EventLog, type LogEvent, parseEventLog } from '#core/eventlog/parse.js';
import { initialPcr, replay } from '#core/eventlog/replay.js';
import { intelRoots } from '#core/tdx/endorsement/trust-anchors.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { explainRtmrs } from '#core/tdx/registers.js';
import { crypto } from '#crypto';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type Json,
  type JsonObject,
} from '../../judge.js';
import { comparison } from '../compare.js';
import { eventLogJson } from '../tpm/fields.js';
import { against, outcomeOf, type Read, withNegatives } from '../tpm/material.js';
import { verifyWithoutCollateral } from './verify.js';

/** Event type of the runtime events of dstack; their digest follows from name and payload. */
const runtimeEvent = 0x08000001;

/** Kind `tdx-rtmr-replay`: a quote and a log that must explain its four RTMRs. */
export async function judgeRegisters(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const { expected } = folder;
  const isBinary = expected.event_log !== undefined;
  const logFile = isBinary ? fileOf(expected.event_log) : 'event_log.json';
  const load = (read: Read) => (isBinary ? parseEventLog(read(logFile)) : logOfJson(read(logFile)));
  const td = parseTdxQuote(folder.read('quote.bin')).td;
  const log = load(folder.read.bind(folder));
  const found = { mrtd: toHex(td.mrTd), rtmr: registersJson(log, td.rtmr) };
  const cases = [comparison('registers', registersOf(expected), found)];
  const { runtime_event_digests_reproduced: reproduced } = expected;
  if (reproduced !== undefined) {
    const own = log.events.filter(({ type }) => type === runtimeEvent).length;
    cases.push(comparison('runtime events', { reproduced }, { reproduced: [own, own] }));
  }
  if (isBinary) {
    const { file_bytes: _, ...wanted } = asObject(expected.event_log, 'event_log');
    const length = folder.read(logFile).length;
    cases.push(comparison(logFile, wanted, eventLogJson(log, length)));
  }
  for (const { name, wanted, read } of withNegatives(folder, 'quote and event log')) {
    const outcome = await outcomeOf(async () => {
      const bytes = read('quote.bin');
      await verifyWithoutCollateral(bytes, intelRoots, 0);
      const { explained } = await explainRtmrs(parseTdxQuote(bytes).td, load(read));
      if (explained.size < 4) throw new CvmpError('EVENT_LOG_MISMATCH', 'an RTMR is not explained');
    });
    // What contradicts a log has several names: its own data (digests of dstack), or the registers.
    const isLog = /^(event-digest|event-log|rtmr|register|replay)-mismatch$/;
    const reason = isLog.test(String(wanted.reason_class))
      ? { reason_class: 'event-log-mismatch' }
      : {};
    cases.push(against(name, { ...wanted, ...reason }, outcome));
  }
  return cases;
}

function fileOf(value: Json | undefined): string {
  return asString(asObject(value, 'event_log').file, 'file').split(' ')[0]!;
}

function registersOf({ mrtd, rtmr }: JsonObject): JsonObject {
  return { mrtd: mrtd ?? null, rtmr: rtmr ?? null };
}

function registersJson(log: EventLog, quoted: readonly Uint8Array[]): JsonObject {
  const replayed = replay(log, 'sha384');
  return Object.fromEntries(
    quoted.map((value, rtmr) => {
      const found = replayed.get(rtmr + 1) ?? initialPcr(rtmr + 1, 'sha384');
      return [
        `rtmr${rtmr}`,
        { replayed: toHex(found), in_quote: toHex(value), equal: equalBytes(found, value) },
      ];
    }),
  );
}

/**
 * JSON array of `{imr, event_type, digest, event, event_payload}`.
 * @throws CvmpError MALFORMED, EVENT_LOG_MISMATCH
 */
function logOfJson(bytes: Uint8Array): EventLog {
  try {
    return readJsonLog(bytes);
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    throw new CvmpError('MALFORMED', 'the event log is no list of events', { cause });
  }
}

function readJsonLog(bytes: Uint8Array): EventLog {
  const items = asList(JSON.parse(new TextDecoder().decode(bytes)) as Json, 'event_log');
  const events = items.map((item): LogEvent => {
    const event = asObject(item, 'event');
    const type = Number(event.event_type);
    const data = fromHex(asString(event.event_payload, 'event_payload'));
    const stated = fromHex(asString(event.digest ?? '', 'digest'));
    const digest = type === runtimeEvent ? runtimeDigest(event, data) : stated;
    if (stated.length > 0 && !equalBytes(stated, digest)) {
      throw new CvmpError('EVENT_LOG_MISMATCH', 'the digest is not that of name and payload');
    }
    const register = Number(event.imr) + 1;
    return { register, type, data, digest: (name) => (name === 'sha384' ? digest : undefined) };
  });
  const algorithms = [{ id: 12, name: 'sha384', length: 48 }];
  return { algorithms, events, startupLocality: undefined, bytesConsumed: bytes.length };
}

function runtimeDigest(event: JsonObject, payload: Uint8Array): Uint8Array {
  const type = new Uint8Array(4);
  new DataView(type.buffer).setUint32(0, runtimeEvent, true);
  const name = utf8(asString(event.event, 'event'));
  return crypto.hash('sha384', type, utf8(':'), name, utf8(':'), payload);
}
