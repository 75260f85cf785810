import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type InstanceLease, leasedTo } from '#core/keying/instance-lease.js';
import { decodeKeyRecord, encodeKeyRecord } from '#core/keying/key-record.js';
import { takeOver } from '#core/keying/tenant-rules.js';
import { refusalAtOnce } from '../../refusal.js';
import { madeRecord } from './made.js';

const id = (n: number) => new Uint8Array(32).fill(n);
const [first, second] = [id(1), id(2)];
const one = { singleInstance: true };
const asking = (instanceId: Uint8Array | undefined, leaseExpires: number) => ({
  instanceId,
  leaseExpires,
});
const leased = (lease: InstanceLease) => madeRecord({ lease });

describe('keys that one instance at a time has (protocol.md s.6.4)', () => {
  it.each([
    { what: 'nobody had it', lease: undefined, who: first, now: 0, gives: 'accepted' },
    { what: 'it is one’s own', lease: [first, 100], who: first, now: 50, gives: 'accepted' },
    { what: 'one’s own and over', lease: [first, 100], who: first, now: 200, gives: 'accepted' },
    {
      what: 'another has it',
      lease: [first, 100],
      who: second,
      now: 99,
      gives: 'INSTANCE_CONFLICT',
    },
    { what: 'the other’s is over', lease: [first, 100], who: second, now: 100, gives: 'accepted' },
    {
      what: 'it was taken from one',
      lease: [first, 0],
      who: first,
      now: 50,
      gives: 'INSTANCE_CONFLICT',
    },
    {
      what: 'it was taken from another',
      lease: [first, 0],
      who: second,
      now: 50,
      gives: 'accepted',
    },
    {
      what: 'no instance is named',
      lease: undefined,
      who: undefined,
      now: 0,
      gives: 'POLICY_REFUSED',
    },
  ] as const)('$what: $gives', ({ lease, who, now, gives }) => {
    const record = madeRecord({
      lease: lease && { instanceId: lease[0], until: lease[1] },
    });
    expect(refusalAtOnce(() => leasedTo(record, one, asking(who, 300), now))).toBe(gives);
    // Where the policy does not ask, nothing is looked at.
    expect(leasedTo(record, { singleInstance: false }, asking(who, 300), now)).toBe(record);
    if (gives === 'accepted') {
      const { lease: next } = leasedTo(record, one, asking(who, 300), now);
      expect(next).toEqual({ instanceId: who, until: 300 });
    }
  });

  it('an attestation that ends later renews it; one that ends earlier changes nothing', () => {
    const record = leased({ instanceId: first, until: 100 });
    expect(leasedTo(record, one, asking(first, 100), 50)).toBe(record);
    expect(leasedTo(record, one, asking(first, 99), 50)).toBe(record);
    expect(leasedTo(record, one, asking(first, 101), 50).lease?.until).toBe(101);
  });

  it('the tenant takes it from who has it, once', () => {
    const record = leased({ instanceId: first, until: 100 });
    const taken = takeOver(record, 50);
    expect(taken.lease).toEqual({ instanceId: first, until: 0 });
    expect(taken.revision).toBe(record.revision + 1);
    expect(takeOver(taken, 60)).toBe(taken);
    const unleased = madeRecord();
    expect(takeOver(unleased, 60)).toBe(unleased);
    expect(refusalAtOnce(() => takeOver({ ...record, state: 'destroyed' }, 60))).toBe(
      'KEY_DESTROYED',
    );
  });

  it('is part of the record', () => {
    for (const until of [0, 1_800_000_000_000]) {
      const record = leased({ instanceId: second, until });
      expect(decodeKeyRecord(encodeKeyRecord(record))).toEqual(record);
    }
  });

  it('at no time have two instances it, whatever is asked in whatever order', () => {
    const step = fc.record({
      who: fc.integer({ min: 1, max: 3 }),
      wait: fc.integer({ min: 0, max: 60 }),
      lease: fc.integer({ min: 1, max: 100 }),
      what: fc.constantFrom('ask' as const, 'ask' as const, 'ask' as const, 'take over' as const),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let record = madeRecord();
        let now = 0;
        /** Who was served last, until when, by the model: an instance and an end. */
        let holder: { who: number; until: number } | undefined;
        const barred = new Set<number>();
        for (const { who, wait, lease, what } of steps) {
          now += wait;
          if (what === 'take over') {
            record = takeOver(record, now);
            if (holder !== undefined) barred.add(holder.who);
            holder = undefined;
            continue;
          }
          const mayHave =
            !barred.has(who) && (holder === undefined || holder.who === who || now >= holder.until);
          const ask = () => leasedTo(record, one, asking(id(who), now + lease), now);
          expect(refusalAtOnce(ask)).toBe(mayHave ? 'accepted' : 'INSTANCE_CONFLICT');
          if (!mayHave) continue;
          record = ask();
          const until = Math.max(now + lease, holder?.who === who ? holder.until : 0);
          holder = { who, until };
          barred.clear();
        }
      }),
      { numRuns: 300 },
    );
  });
});
