import { describe, expect, it } from 'vitest';
import { concat, utf8 } from '#core/bytes.js';
import { eventType } from '#core/eventlog/event-types.js';
import { parseEventLog } from '#core/eventlog/parse.js';
import { explainedRegisters, measuredData, replay } from '#core/eventlog/replay.js';
import {
  authority,
  digest,
  eventLog,
  type FakeEvent,
  pcrsAfter,
  soundBoot,
} from '../../fakes/event-log.js';

const events = soundBoot();

describe('replay (protocol.md s.4 step 8)', () => {
  it.each(['sha256', 'sha384'] as const)('bank %s gives what the TPM holds', async (bank) => {
    const log = parseEventLog(eventLog(events, ['sha1', 'sha256', 'sha384']));
    const held = pcrsAfter(events, bank);
    for (const [pcr, value] of replay(log, bank)) expect(value).toEqual(held.get(pcr));
    expect(await explainedRegisters(log, bank, held)).toEqual(new Set(held.keys()));
  });

  it('EV_NO_ACTION is not extended', () => {
    const silent: FakeEvent = { register: 0, type: eventType.noAction, data: utf8('version') };
    const log = parseEventLog(eventLog([...events, silent]));
    expect(replay(log, 'sha256').get(0)).toEqual(pcrsAfter(events).get(0));
  });

  it('PCR 0 starts with the startup locality', () => {
    const data = concat(utf8('StartupLocality\0'), Uint8Array.of(3));
    const start: FakeEvent = { register: 0, type: eventType.noAction, data };
    const measured: FakeEvent = { register: 0, type: 1, data: utf8('firmware') };
    const log = parseEventLog(eventLog([start, measured]));
    const before = new Uint8Array(32);
    before[31] = 3;
    const expected = digest('sha256', before, digest('sha256', utf8('firmware')));
    expect(replay(log, 'sha256').get(0)).toEqual(expected);
  });

  it('PCRs 17 to 22 start with ones', async () => {
    const log = parseEventLog(eventLog([]));
    const held = pcrsAfter([]);
    expect((await explainedRegisters(log, 'sha256', held)).size).toBe(24);
    held.set(17, new Uint8Array(32));
    expect((await explainedRegisters(log, 'sha256', held)).has(17)).toBe(false);
  });

  it('a bank that the log does not have explains nothing', () => {
    const log = parseEventLog(eventLog(events, ['sha1']));
    expect(() => replay(log, 'sha256')).toThrow(
      expect.objectContaining({ code: 'EVENT_LOG_MISMATCH' }),
    );
  });

  const edits: [string, (events: readonly FakeEvent[]) => readonly FakeEvent[]][] = [
    ['left out', (all) => all.slice(1)],
    ['added', (all) => [...all, { register: 0, type: 1, data: utf8('more') }]],
    ['moved', (all) => [...all.slice(1), all[0]!]],
    ['of another digest', (all) => [{ ...all[0]!, measured: utf8('other') }, ...all.slice(1)]],
  ];
  it.each(edits)('a register with an event %s is not explained', async (_, edit) => {
    const log = parseEventLog(eventLog(edit(events)));
    const explained = await explainedRegisters(log, 'sha256', pcrsAfter(events));
    expect([explained.has(0), explained.has(7)]).toEqual([false, true]);
  });
});

describe('event data is believed only where its digest is the digest (protocol.md s.4)', () => {
  const read = (event: FakeEvent) => parseEventLog(eventLog([event])).events[0]!;

  it('data that was measured', () => {
    expect(measuredData(read(authority), 'sha256')).toEqual(authority.data);
  });

  it('data that was not', () => {
    const edited = { ...authority, measured: utf8('something else') };
    expect(measuredData(read(edited), 'sha256')).toBeUndefined();
  });

  it('an authority of an older shim without its last byte, and nothing else so', () => {
    const data = concat(authority.data, Uint8Array.of(0xaf));
    const logged = { ...authority, data, measured: authority.data };
    expect(measuredData(read(logged), 'sha256')).toEqual(authority.data);
    const other = { ...logged, type: eventType.efiVariableDriverConfig };
    expect(measuredData(read(other), 'sha256')).toBeUndefined();
  });
});
