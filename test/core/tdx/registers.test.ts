import { describe, expect, it } from 'vitest';
import { appraise } from '#core/tdx/appraise.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { defaultRules } from '#core/tdx/rules.js';
import { tdxScheme } from '#core/tdx/scheme.js';
import {
  eventLog,
  type FakeEvent,
  pcrsAfter,
  secureBootVariables,
  separator,
} from '../../fakes/event-log.js';
import { FakeIntel, now } from '../../fakes/intel.js';
import { refusalOf } from '../../refusal.js';

const intel = await FakeIntel.create();

/** Events of PCR 7 in the register of a CC event log that RTMR0 has. */
const inRtmr0 = (events: readonly FakeEvent[]) => events.map((e) => ({ ...e, register: 1 }));
const firmware = inRtmr0([...secureBootVariables(), separator(7)]);
const kernel: FakeEvent = { register: 2, type: 13, data: new Uint8Array([1, 2, 3]) };

/** A TD whose registers hold these events, with the log of others. */
async function claimsOf(events: readonly FakeEvent[], logged: readonly FakeEvent[] | undefined) {
  const held = pcrsAfter(events, 'sha384', 5);
  const rtmr = [1, 2, 3, 4].map((register) => held.get(register)!);
  const quote = await intel.quote({ td: { rtmr } });
  const log = logged === undefined ? undefined : eventLog(logged, ['sha384']);
  const collection = tdxCollection(quote, await intel.endorsements(), log);
  const { endorsements, ...evidence } = tdxScheme.parse(collection);
  return tdxScheme.verify({ ...evidence, endorsements }, endorsements, [intel.anchor], now);
}

describe('RTMRs and the CC event log (protocol.md s.3.3, s.4)', () => {
  it('registers that the log explains, and Secure Boot from RTMR0', async () => {
    const { measurements } = await claimsOf([...firmware, kernel], [...firmware, kernel]);
    expect([...measurements.explained]).toEqual([0, 1, 2, 3]);
    expect(measurements.secureBoot.state).toBe('enabled');
  });

  it('a register whose events are not in the log is not explained', async () => {
    const { measurements } = await claimsOf([...firmware, kernel], firmware);
    expect([...measurements.explained]).toEqual([0, 2, 3]);
  });

  it('a log that does not explain RTMR0 says nothing of Secure Boot', async () => {
    const off = inRtmr0([...secureBootVariables(0), separator(7)]);
    const { measurements } = await claimsOf(off, firmware);
    expect(measurements.secureBoot.state).toBe('unknown');
  });

  it.each<[string, (event: FakeEvent, i: number) => FakeEvent]>([
    ['under other types', (event) => ({ ...event, type: 10 })],
    ['but for the separator', (event, i) => (i === 0 ? { ...event, type: 10 } : event)],
    ['but for the variable', (event) => (event.type === 4 ? { ...event, type: 10 } : event)],
  ])('Secure Boot that is off is not hidden behind forged events: logged %s', async (_, retype) => {
    const off = inRtmr0([...secureBootVariables(0), separator(7)]);
    const held = [...off, ...firmware];
    const logged = [...off.map(retype), ...firmware];
    const { measurements } = await claimsOf(held, logged);
    expect(measurements.explained.has(0)).toBe(true);
    expect(measurements.secureBoot.state).toBe('unknown');
  });

  it('without a log only registers that were never extended are explained', async () => {
    const { measurements } = await claimsOf([kernel], undefined);
    expect([...measurements.explained]).toEqual([0, 2, 3]);
    expect(measurements.secureBoot.state).toBe('unknown');
  });

  it('a log without SHA-384 is refused, and one that is none', async () => {
    const quote = await intel.quote();
    const endorsements = await intel.endorsements();
    const verify = async (log: Uint8Array) => {
      const evidence = tdxScheme.parse(tdxCollection(quote, endorsements, log));
      return tdxScheme.verify(evidence, endorsements, [intel.anchor], now);
    };
    expect(await refusalOf(verify(eventLog([], ['sha256'])))).toBe('EVENT_LOG_MISMATCH');
    expect(await refusalOf(verify(new Uint8Array(10)))).toBe('MALFORMED');
  });

  it('rules ask for explained registers and for Secure Boot', async () => {
    const checks = async (
      events: readonly FakeEvent[],
      logged: readonly FakeEvent[],
      asked: Partial<typeof defaultRules>,
    ) => {
      const claims = await claimsOf(events, logged);
      const rtmr = [undefined, undefined, undefined, undefined] as const;
      const references = [{ mrTd: claims.launchMeasurement, rtmr, imageSvn: 0, name: '' }];
      return appraise(claims, { ...defaultRules, references, ...asked }).map(({ check }) => check);
    };
    const all = { rtmrsExplained: [0, 1], requireSecureBoot: true };
    expect(await checks([...firmware, kernel], [...firmware, kernel], all)).toEqual([]);
    expect(await checks([...firmware, kernel], firmware, all)).toEqual(['tdx.rtmrs-explained']);
    expect(await checks([...firmware, kernel], [kernel], all)).toEqual([
      'tdx.rtmrs-explained',
      'tdx.secure-boot',
    ]);
    const off = inRtmr0([...secureBootVariables(0), separator(7)]);
    expect(await checks(off, off, all)).toEqual(['tdx.secure-boot']);
  });
});
