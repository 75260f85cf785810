import { CvmpError } from '#core/errors.js';

const atOnce = 5;
const millisecondsForOne = 30_000;

/** Wrong entries that a server bears: some at once, then one in half a minute. */
export class Attempts {
  readonly #now: () => number;
  /** Milliseconds that are saved up. */
  #saved = atOnce * millisecondsForOne;
  #countedAt: number;

  /** @param now milliseconds */
  constructor(now: () => number) {
    this.#now = now;
    this.#countedAt = now();
  }

  /** Before an entry is looked at. @throws CvmpError RATE saying how long to wait */
  demand(): void {
    this.#count();
    const missing = millisecondsForOne - this.#saved;
    if (missing <= 0) return;
    throw new CvmpError('RATE', `too many wrong entries: wait ${Math.ceil(missing / 1000)} s`);
  }

  /** One was wrong. */
  wrong(): void {
    this.#count();
    this.#saved -= millisecondsForOne;
  }

  #count(): void {
    const now = this.#now();
    const gained = Math.max(0, now - this.#countedAt);
    this.#saved = Math.min(atOnce * millisecondsForOne, this.#saved + gained);
    this.#countedAt = now;
  }
}
