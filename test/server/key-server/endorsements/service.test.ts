import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import type { Answer } from '#server/key-server/endorsements/http.js';
import { type ServiceLimits, VendorService } from '#server/key-server/endorsements/service.js';
import { FakeClock } from '../../../fakes/clock.js';

const limits: ServiceLimits = {
  requestTimeoutMs: 10_000,
  attemptsMax: 3,
  backoffMs: 1000,
  retryAfterSecondsMax: 600,
  circuitFailures: 5,
  circuitOpenSeconds: 30,
  requestsPerMinuteMax: 60,
};

const start = Date.UTC(2026, 0, 1);
const unreachable = new CvmpError('ENDORSEMENT_UNAVAILABLE', 'connection refused');

function answer(status: number, retryAfter?: string): Answer {
  return {
    status,
    header: (name) => (name === 'retry-after' ? retryAfter : undefined),
    body: Uint8Array.of(status & 0xff),
  };
}

/** A service that gives these answers one after the other, the last one for ever. */
function service(given: readonly (Answer | CvmpError)[], change: Partial<ServiceLimits> = {}) {
  const clock = new FakeClock(start);
  const times: number[] = [];
  const it = new VendorService({
    name: 'https://vendor',
    limits: { ...limits, ...change },
    get: async () => {
      const next = given[Math.min(times.length, given.length - 1)]!;
      times.push(clock.now() - start);
      if (next instanceof CvmpError) throw next;
      return next;
    },
    clock,
    random: () => 0.5,
  });
  return { it, clock, times };
}

const codeOf = async (work: Promise<unknown>) =>
  work.then(
    () => 'answered',
    (error) => (error as CvmpError).message,
  );

describe('a service of a vendor is asked no more than it bears (architecture: endorsements)', () => {
  test('what passes is tried again after a pause that doubles, in part by chance', async () => {
    const { it, clock, times } = service([answer(503), unreachable, answer(200)]);
    const got = it.get('/x');
    await clock.timer(700, 800);
    clock.advance(751);
    await clock.timer(1400, 1600);
    clock.advance(1501);
    expect((await got).status).toBe(200);
    expect(times).toEqual([0, 751, 2252]);
  });

  test('after as many attempts as allowed it gives up', async () => {
    const { it, clock, times } = service([answer(502)]);
    const got = codeOf(it.get('/x'));
    await clock.timer(700, 800);
    clock.advance(751);
    await clock.timer(1400, 1600);
    clock.advance(1501);
    expect(await got).toBe('https://vendor answered 502');
    expect(times.length).toBe(3);
  });

  test.each([301, 302, 307, 400, 401, 403, 404, 410])(
    'status %i would be the same again: it is not repeated',
    async (status) => {
      const { it, times } = service([answer(status)]);
      expect(await codeOf(it.get('/x'))).toBe(`https://vendor answered ${status}`);
      expect(times.length).toBe(1);
    },
  );

  test.each([
    ['seconds', '20', 20_000],
    ['a date', new Date(start + 20_000).toUTCString(), 20_000],
    ['more than the configured most', '86400', 600_000],
  ])('429 with Retry-After as %s: nobody asks before then', async (_what, retryAfter, obeyed) => {
    const { it, clock, times } = service([answer(429, retryAfter), answer(200)]);
    const got = it.get('/x');
    await clock.timer(obeyed, obeyed + 1);
    expect(await codeOf(it.get('/y'))).toMatch(/left alone until/);
    expect(times.length).toBe(1);
    clock.advance(obeyed + 1);
    expect((await got).status).toBe(200);
  });

  test('failures in a row open the circuit: nobody waits; one trial after it', async () => {
    const { it, clock, times } = service([unreachable], { attemptsMax: 1, circuitFailures: 3 });
    for (let i = 0; i < 3; i++) expect(await codeOf(it.get('/x'))).toBe('connection refused');
    expect(await codeOf(it.get('/x'))).toMatch(/left alone until 2026-01-01T00:00:30/);
    expect(times.length).toBe(3);
    clock.advance(30_000);
    expect(await codeOf(it.get('/x'))).toBe('connection refused');
    expect(await codeOf(it.get('/x'))).toMatch(/left alone until 2026-01-01T00:01:00/);
    expect(times.length).toBe(4);
  });

  test('one success closes the circuit', async () => {
    const failing = [unreachable, unreachable, answer(200), unreachable, unreachable];
    const { it } = service(failing, { attemptsMax: 1, circuitFailures: 3 });
    for (const expected of ['refused', 'refused', 'answered', 'refused', 'refused', 'refused']) {
      expect(await codeOf(it.get('/x'))).toContain(expected);
    }
  });

  test('no more requests in a minute than configured, whoever asks', async () => {
    const { it, clock, times } = service([answer(200)], { requestsPerMinuteMax: 4 });
    const all = await Promise.all(Array.from({ length: 9 }, () => codeOf(it.get('/x'))));
    expect(all.filter((text) => text === 'answered').length).toBe(4);
    expect(all[8]).toMatch(/asked 4 times/);
    clock.advance(15_000);
    expect(await codeOf(it.get('/x'))).toBe('answered');
    expect(await codeOf(it.get('/x'))).toMatch(/asked 4 times/);
    expect(times.length).toBe(5);
  });

  test('statements of single chips leave a quarter for what all evidence needs', async () => {
    const { it } = service([answer(200)], { requestsPerMinuteMax: 8 });
    const chips = await Promise.all(Array.from({ length: 9 }, () => codeOf(it.get('/x', true))));
    expect(chips.filter((text) => text === 'answered').length).toBe(6);
    expect(await codeOf(it.get('/crl'))).toBe('answered');
    expect(await codeOf(it.get('/crl'))).toBe('answered');
    expect(await codeOf(it.get('/crl'))).toMatch(/asked 8 times/);
  });
});
