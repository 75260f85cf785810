import type { Clock } from '#server/key-server/endorsements/clock.js';

interface Timer {
  readonly at: number;
  readonly what: () => void;
}

/** Time that passes only when a test says so. */
export class FakeClock implements Clock {
  #now: number;
  readonly #timers = new Set<Timer>();
  readonly #watchers: (() => void)[] = [];

  /** @param now milliseconds since 1970 */
  constructor(now: number) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, what: () => void): () => void {
    const timer = { at: this.#now + ms, what };
    this.#timers.add(timer);
    for (const watcher of this.#watchers.splice(0)) watcher();
    return () => this.#timers.delete(timer);
  }

  /** Lets time pass; what comes due runs, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.what();
    }
    this.#now = end;
  }

  /** Milliseconds until each timer that is set, shortest first. */
  get waits(): readonly number[] {
    return [...this.#timers].map(({ at }) => at - this.#now).sort((a, b) => a - b);
  }

  /** Resolves as soon as a timer is set that ends between these times from now. */
  async timer(leastMs: number, mostMs: number): Promise<void> {
    while (!this.waits.some((ms) => ms >= leastMs && ms <= mostMs)) {
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }
}
