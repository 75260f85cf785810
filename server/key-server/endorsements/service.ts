import { CvmpError } from '#core/errors.js';
import { type Clock, wait } from './clock.js';
import type { Answer } from './http.js';

/** How one service of a vendor is treated. */
export interface ServiceLimits {
  /** Longest that one answer may take. */
  readonly requestTimeoutMs: number;
  /** Requests for one statement, the first included. */
  readonly attemptsMax: number;
  /** Wait before the second attempt; doubles, each between a half and the whole of it. */
  readonly backoffMs: number;
  /** Longest wait that Retry-After is obeyed for; it is not asked in the meantime. */
  readonly retryAfterSecondsMax: number;
  /** Failures in a row after which it is left alone. */
  readonly circuitFailures: number;
  readonly circuitOpenSeconds: number;
  /** Requests that are sent at most; a burst of as many is allowed. */
  readonly requestsPerMinuteMax: number;
}

export interface ServiceParts {
  /** For messages: its origin. */
  readonly name: string;
  readonly limits: ServiceLimits;
  readonly get: (url: string, signal: AbortSignal) => Promise<Answer>;
  readonly clock: Clock;
  /** From 0 up to but not including 1. */
  readonly random: () => number;
}

/**
 * Part of the requests of a minute that statements about single chips never use: evidence that was
 * made up can ask for any number of those, and must not keep lists from being renewed.
 */
const keptBack = 1 / 4;

/**
 * One service of a vendor, asked no more than it bears: AMD's gives a client one certificate in about
 * ten seconds before it says 429, and has been away for hours. Failures end a try at once while the
 * service is left alone, so that nobody waits for it in vain.
 */
export class VendorService {
  readonly #parts: ServiceParts;
  #failures = 0;
  #closedUntil = 0;
  #tokens: number;
  #filledAt: number;

  constructor(parts: ServiceParts) {
    this.#parts = parts;
    this.#tokens = parts.limits.requestsPerMinuteMax;
    this.#filledAt = parts.clock.now();
  }

  /**
   * @param isOfOneChip whether this is of one chip alone
   * @returns an answer of status 200
   * @throws CvmpError ENDORSEMENT_UNAVAILABLE, ENDORSEMENT_INVALID; field `absent` where the service
   *   says that there is no such statement
   */
  async get(url: string, isOfOneChip = false): Promise<Answer> {
    const { attemptsMax, backoffMs, retryAfterSecondsMax } = this.#parts.limits;
    for (let attempt = 1; ; attempt++) {
      this.#admit(isOfOneChip);
      const answer = await this.#ask(url).catch((error: CvmpError) => error);
      if (!(answer instanceof CvmpError) && answer.status === 200) {
        this.#failures = 0;
        return answer;
      }
      const failure = answer instanceof CvmpError ? answer : this.#refusal(answer);
      if (!isPassing(answer)) throw failure;
      this.#failed();
      const pause = backoffMs * 2 ** (attempt - 1);
      let delay = (pause * (1 + this.#parts.random())) / 2;
      if (!(answer instanceof CvmpError)) {
        const asked = retryAfterMs(answer, this.#parts.clock.now());
        if (asked !== undefined) {
          // No request of anybody until then; who asks for this one may wait for it.
          const obeyed = Math.min(asked, retryAfterSecondsMax * 1000);
          this.#close(obeyed);
          delay = Math.max(delay, obeyed);
        }
      }
      const isLeftAlone = this.#closedUntil > this.#parts.clock.now() + delay;
      if (attempt >= attemptsMax || isLeftAlone) throw failure;
      // Timers may be early by a millisecond.
      await wait(this.#parts.clock, delay + 1);
    }
  }

  #admit(isOfOneChip: boolean): void {
    const { clock, name } = this.#parts;
    const now = clock.now();
    if (now < this.#closedUntil) {
      const until = new Date(this.#closedUntil).toISOString();
      throw unavailable(`${name} is left alone until ${until}`);
    }
    const { requestsPerMinuteMax: rate } = this.#parts.limits;
    const gained = ((now - this.#filledAt) / 60_000) * rate;
    this.#tokens = Math.min(rate, this.#tokens + gained);
    this.#filledAt = now;
    const kept = isOfOneChip ? Math.floor(rate * keptBack) : 0;
    if (this.#tokens - kept < 1)
      throw unavailable(`${name} was asked ${rate} times in this minute`);
    this.#tokens -= 1;
  }

  async #ask(url: string): Promise<Answer> {
    const { clock, limits, get } = this.#parts;
    const abort = new AbortController();
    const cancel = clock.after(limits.requestTimeoutMs, () => abort.abort());
    try {
      return await get(url, abort.signal);
    } finally {
      cancel();
    }
  }

  #failed(): void {
    this.#failures += 1;
    const { circuitFailures, circuitOpenSeconds } = this.#parts.limits;
    // From then on one failure more closes it again: the first request after is a trial.
    if (this.#failures >= circuitFailures) this.#close(circuitOpenSeconds * 1000);
  }

  #close(ms: number): void {
    this.#closedUntil = Math.max(this.#closedUntil, this.#parts.clock.now() + ms);
  }

  #refusal({ status }: Answer): CvmpError {
    const message = `${this.#parts.name} answered ${status}`;
    const isAbsent = status === 400 || status === 404 || status === 410;
    return new CvmpError('ENDORSEMENT_UNAVAILABLE', message, isAbsent ? { field: 'absent' } : {});
  }
}

/** Whether the same request may do better later. */
function isPassing(answer: Answer | CvmpError): boolean {
  if (answer instanceof CvmpError) return answer.code === 'ENDORSEMENT_UNAVAILABLE';
  return answer.status === 429 || answer.status >= 500;
}

/** Retry-After in seconds or as a date (RFC 9110 s.10.2.3). */
function retryAfterMs({ header }: Answer, now: number): number | undefined {
  const text = header('retry-after')?.trim();
  if (text === undefined) return undefined;
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function unavailable(message: string): CvmpError {
  return new CvmpError('ENDORSEMENT_UNAVAILABLE', message);
}
