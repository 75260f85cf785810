import { expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { Attempts } from '#server/key-server/sealing/attempts.js';

test('five wrong entries at once, then one in half a minute, and it says how long to wait', () => {
  let now = 0;
  const attempts = new Attempts(() => now);
  for (let i = 0; i < 5; i++) {
    attempts.demand();
    attempts.wrong();
  }
  const refusal = () => {
    try {
      attempts.demand();
      return 'accepted';
    } catch (error) {
      return error instanceof CvmpError ? `${error.code}: ${error.message}` : 'fault';
    }
  };
  expect(refusal()).toBe('RATE: too many wrong entries: wait 30 s');
  now += 20_000;
  expect(refusal()).toBe('RATE: too many wrong entries: wait 10 s');
  now += 10_000;
  expect(refusal()).toBe('accepted');
  attempts.wrong();
  expect(refusal()).toBe('RATE: too many wrong entries: wait 30 s');
  // A clock that was set back gives nothing away.
  now -= 3_600_000;
  expect(refusal()).toContain('RATE');
});
