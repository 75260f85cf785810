import { describe, expect, test } from 'vitest';
import { withBackoff } from '#agent/provision/backoff.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { refusalOf } from '../../refusal.js';

const config = { initialMs: 100, maxMs: 1000, deadlineMs: 10_000 };

/** A clock that only sleeping moves, and work that takes `workMs` and fails `failures` times. */
function run(failures: number, random: number, code: ErrorCode = 'UNAVAILABLE', workMs = 0) {
  let now = 5_000_000;
  let calls = 0;
  const waits: number[] = [];
  const result = withBackoff(
    async () => {
      now += workMs;
      if (calls++ < failures) throw new CvmpError(code, 'no');
      return 'done';
    },
    config,
    {
      now: () => now,
      random: () => random,
      onRetry: (_, delay) => waits.push(delay),
      sleep: async (ms) => {
        now += ms;
      },
    },
  );
  return { result, waits, calls: () => calls };
}

describe('backoff', () => {
  test('what works at once does not wait', async () => {
    const { result, waits } = run(0, 0);
    expect(await result).toBe('done');
    expect(waits).toEqual([]);
  });

  test('waits double up to the limit', async () => {
    const { result, waits } = run(6, 1);
    expect(await result).toBe('done');
    expect(waits).toEqual([100, 200, 400, 800, 1000, 1000]);
  });

  test('chance halves each wait at most', async () => {
    const { result, waits } = run(5, 0);
    await result;
    expect(waits).toEqual([50, 100, 200, 400, 500]);
  });

  test('gives up with the last error before the deadline passes', async () => {
    const { result, waits } = run(Number.POSITIVE_INFINITY, 1);
    expect(await refusalOf(result)).toBe('UNAVAILABLE');
    const slept = waits.reduce((a, b) => a + b, 0);
    expect(slept).toBeLessThanOrEqual(config.deadlineMs);
    expect(slept).toBeGreaterThan(config.deadlineMs - config.maxMs);
  });

  test('time that the work itself takes counts', async () => {
    const { result, calls } = run(Number.POSITIVE_INFINITY, 1, 'UNAVAILABLE', 6000);
    expect(await refusalOf(result)).toBe('UNAVAILABLE');
    expect(calls()).toBe(2);
  });

  test.each<ErrorCode>([
    'SHUTTING_DOWN',
    'SEALED',
    'STORE_WRITE',
    'RATE',
    'ENDORSEMENT_UNAVAILABLE',
    'ENDORSEMENT_INVALID',
  ])('%s passes too', async (code) => {
    expect(await run(1, 0, code).result).toBe('done');
  });

  test.each<ErrorCode>([
    'POLICY_MEASUREMENT',
    'SVN_BELOW_FLOOR',
    'SERVER_UNTRUSTED',
    'CONFIG_MISMATCH',
    'TSM_UNAVAILABLE',
    'HEADER_REFUSED',
    'INTERNAL',
  ])('%s is final', async (code) => {
    const { result, calls } = run(1, 0, code);
    expect(await refusalOf(result)).toBe(code);
    expect(calls()).toBe(1);
  });

  test('a fault without a code is final', async () => {
    const io = { now: () => 0, random: () => 0, onRetry: () => {}, sleep: async () => {} };
    const work = async () => Promise.reject(new TypeError('a bug'));
    await expect(withBackoff(work, config, io)).rejects.toThrow(TypeError);
  });
});
