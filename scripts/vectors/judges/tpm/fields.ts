import { createHash } from 'node:crypto';
import { toHex } from '#core/bytes.js';
import { eventType } from '#core/eventlog/event-types.js';
import type { EventLog } from '#core/eventlog/parse.js';
import { replay } from '#core/eventlog/replay.js';
import type { TpmQuote } from '#core/tpm/attest.js';
import type { JsonObject } from '../../judge.js';

// Renders what core parsed in the words of the vectors' expected.json, for comparison.

export function quoteFieldsJson(quote: TpmQuote): JsonObject {
  const { clockInfo } = quote;
  return {
    // A quote that parsed has magic and type, and nothing behind it.
    magic: 'ff544347',
    type: '8018',
    trailing_bytes: 0,
    qualified_signer: toHex(quote.qualifiedSigner),
    extra_data: toHex(quote.extraData),
    clock: Number(clockInfo.clock),
    reset_count: clockInfo.resetCount,
    restart_count: clockInfo.restartCount,
    safe: clockInfo.safe ? 1 : 0,
    firmware_version_hex: quote.firmwareVersion.toString(16).padStart(16, '0'),
    pcr_selections: quote.selections.map(({ bank, pcrs }) => ({ hash: bank, pcrs: [...pcrs] })),
    pcr_digest: toHex(quote.pcrDigest),
  };
}

export function eventLogJson(log: EventLog, fileBytes: number): JsonObject {
  const types: Record<string, number> = {};
  for (const { type } of log.events) {
    const name = type.toString(16).padStart(8, '0');
    types[name] = (types[name] ?? 0) + 1;
  }
  return {
    algorithms: log.algorithms.map(({ name }) => name),
    events_after_header: log.events.length,
    event_types: types,
    bytes_consumed: log.bytesConsumed,
    file_bytes: fileBytes,
    ...(log.startupLocality === undefined ? {} : { startup_locality: log.startupLocality }),
    replayed_pcrs: Object.fromEntries(
      log.algorithms.map(({ name }) => [
        name,
        Object.fromEntries([...replayed(log, name)].map(([pcr, value]) => [pcr, toHex(value)])),
      ]),
    ),
  };
}

/** Core refuses the SHA-1 bank; its digests are cross-checked here. */
export function replayed(log: EventLog, bank: string): ReadonlyMap<number, Uint8Array> {
  if (bank === 'sha256' || bank === 'sha384') return replay(log, bank);
  const registers = new Map<number, Uint8Array>();
  for (const event of log.events) {
    const { register, type } = event;
    if (type === eventType.noAction) continue;
    const digest = event.digest(bank) ?? new Uint8Array();
    const start = new Uint8Array(digest.length);
    if (register === 0) start[start.length - 1] = log.startupLocality ?? 0;
    const hash = createHash(bank)
      .update(registers.get(register) ?? start)
      .update(digest);
    registers.set(register, new Uint8Array(hash.digest()));
  }
  return registers;
}
