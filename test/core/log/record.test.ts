import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeLogRecord,
  encodeLogRecord,
  type LogEvent,
  type LogPlace,
} from '#core/log/record.js';
import { refusalAtOnce, refusalOf } from '../../refusal.js';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const text = fc.string({ minLength: 1, maxLength: 20 });
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });

const event: fc.Arbitrary<LogEvent> = fc.record({
  operation: fc.constantFrom('attest', 'key_acquire', 'set_key_policy'),
  tenantId: maybe(text),
  code: maybe(fc.constantFrom('NO_POLICY' as const, 'NOT_FOUND' as const)),
  failedChecks: maybe(
    fc.array(fc.record({ code: fc.constant('POLICY_DEBUG' as const), message: text })),
  ),
  actor: maybe(text),
  cvmName: maybe(text),
  keyId: maybe(bytes(16)),
  svn: maybe(fc.nat()),
  level: maybe(fc.nat()),
  svnFloor: maybe(fc.nat()),
  evidenceFormat: maybe(text),
  evidenceDigest: maybe(bytes(32)),
  endorsementDigests: maybe(fc.array(bytes(32), { maxLength: 4 })),
  policyDigest: maybe(bytes(32)),
  policyId: maybe(text),
  policyVersion: maybe(fc.nat()),
  sessionId: maybe(bytes(16)),
  requestId: text,
  reason: maybe(text),
  requestDigest: maybe(bytes(32)),
  epoch: maybe(fc.nat()),
});
const place: fc.Arbitrary<LogPlace> = fc.record({
  index: fc.integer({ min: 1, max: 2 ** 48 }),
  time: fc.nat(),
  sequence: fc.integer({ min: 1 }),
  previous: bytes(32),
});

describe('records of the log', () => {
  it('are read back as they were made', () => {
    fc.assert(
      fc.property(event, place, (e, p) => {
        expect(decodeLogRecord(encodeLogRecord(e, p))).toEqual({ ...e, ...p });
      }),
    );
  });

  it('every truncation gives a coded error', () => {
    const [e, p] = [fc.sample(event, { numRuns: 1, seed: 4 })[0]!, fc.sample(place, 1)[0]!];
    const whole = encodeLogRecord(e, p);
    for (let i = 0; i < whole.length; i++) {
      expect(refusalAtOnce(() => decodeLogRecord(whole.subarray(0, i)))).not.toBe('accepted');
    }
  });

  it('a record is never longer than 64 KiB', async () => {
    const message = 'x'.repeat(70_000);
    const [p] = fc.sample(place, 1);
    const long = encodeLogRecord(
      {
        operation: 'attest',
        tenantId: 'acme',
        requestId: 'r',
        failedChecks: [{ code: 'NO_POLICY', message }],
      },
      p!,
    );
    expect(await refusalOf(() => decodeLogRecord(long))).toBe('SIZE');
  });
});
