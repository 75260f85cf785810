import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, utf8 } from '#core/bytes.js';
import { eventType, eventTypeName } from '#core/eventlog/event-types.js';
import { parseEventLog } from '#core/eventlog/parse.js';
import { digest, eventLog, type FakeEvent, separator, soundBoot } from '../../fakes/event-log.js';
import { refusalOf } from '../../refusal.js';

const events = soundBoot();
const log = eventLog(events);
const refusal = (bytes: Uint8Array) => refusalOf(() => parseEventLog(bytes));
const changed = (at: number, ...bytes: readonly number[]) => {
  const out = log.slice();
  out.set(bytes, at);
  return out;
};
const noAction = (data: Uint8Array, register = 0): FakeEvent => ({
  register,
  type: eventType.noAction,
  data,
});
const locality = (value: number) =>
  noAction(concat(utf8('StartupLocality\0'), Uint8Array.of(value)));

describe('crypto-agile event log (TCG PC Client Platform Firmware Profile s.10.2)', () => {
  it('every event comes back as it was written', () => {
    const parsed = parseEventLog(log);
    expect(parsed.algorithms.map(({ name }) => name)).toEqual(['sha1', 'sha256']);
    expect(parsed.events).toHaveLength(events.length);
    for (const [i, event] of parsed.events.entries()) {
      const made = events[i]!;
      expect([event.register, event.type, event.data]).toEqual([
        made.register,
        made.type,
        made.data,
      ]);
      expect(event.digest('sha256')).toEqual(digest('sha256', made.measured ?? made.data));
    }
    expect(parsed.bytesConsumed).toBe(log.length);
  });

  it.each([0, 0xff])('padding of %i behind the last event is passed over', (byte) => {
    const parsed = parseEventLog(concat(log, new Uint8Array(4096).fill(byte)));
    expect(parsed.events).toHaveLength(events.length);
    expect(parsed.bytesConsumed).toBe(log.length);
  });

  it('a log without events is a log', () => {
    expect(parseEventLog(eventLog([])).events).toEqual([]);
  });

  it.each([0, 3, 4])('startup locality %i (s.10.4.5.3)', (value) => {
    expect(parseEventLog(eventLog([locality(value)])).startupLocality).toBe(value);
  });

  it('types have their names', () => {
    expect(eventTypeName(eventType.separator)).toBe('EV_SEPARATOR');
    expect(eventTypeName(0x12345678)).toBe('0x12345678');
  });
});

describe('what is no such log is refused', () => {
  const header = 32;
  const rows: [string, () => Uint8Array, string][] = [
    ['a log of the old format', () => changed(header, 0x58), 'UNSUPPORTED_VERSION'],
    ['a first event that is measured', () => changed(4, 5), 'UNSUPPORTED_VERSION'],
    ['no algorithm', () => changed(header + 24, 0), 'SIZE'],
    ['too many algorithms', () => changed(header + 24, 9), 'SIZE'],
    ['one algorithm twice', () => changed(header + 32, 4, 0, 20, 0), 'MALFORMED'],
    ['an algorithm of a wrong length', () => changed(header + 30, 32), 'MALFORMED'],
    ['an event with another number of digests', () => changed(header + 37 + 8, 1), 'MALFORMED'],
    ['an event with an unknown digest', () => changed(header + 37 + 12, 9), 'MALFORMED'],
    ['a measured register that no TPM has', () => changed(header + 37, 24), 'MALFORMED'],
    ['bytes behind that are no padding', () => concat(log, Uint8Array.of(0, 1)), 'MALFORMED'],
    [
      'an event of 128 KiB',
      () => eventLog([{ ...separator(0), data: new Uint8Array(131073) }]),
      'SIZE',
    ],
    ['512 KiB', () => concat(log, new Uint8Array(524288)), 'SIZE'],
    ['an unknown startup locality', () => eventLog([locality(1)]), 'MALFORMED'],
    ['two startup localities', () => eventLog([locality(3), locality(3)]), 'MALFORMED'],
  ];
  it.each(rows)('%s', async (_, make, code) => {
    expect(await refusal(make())).toBe(code);
  });

  it('a truncation is refused, or ends between two events', async () => {
    const ends = Array.from({ length: events.length + 1 }, (_, i) => eventLog(events.slice(0, i)))
      .map((part) => part.length)
      .reverse();
    for (let length = 0; length < log.length; length++) {
      const code = await refusal(log.slice(0, length));
      // What is left of the next event may be zeros, as padding is.
      const end = ends.find((one) => one <= length);
      const isWhole = end !== undefined && log.slice(end, length).every((byte) => byte === 0);
      expect(code === 'accepted', `${length}: ${code}`).toBe(isWhole);
    }
  });

  it('any bytes give a coded error or a log, never a crash', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: log.length - 41 }),
        fc.uint8Array({ maxLength: 40 }),
        async (at, bytes) => {
          expect(await refusal(changed(at, ...bytes))).not.toBe('');
        },
      ),
      { numRuns: 300 },
    );
  });
});
