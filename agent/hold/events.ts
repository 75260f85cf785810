import type { CvmpError } from '#core/errors.js';
import type { KeySession, Notice } from '../session/key-session.js';

/** What makes an agent that holds its session do something. */
export type HoldEvent =
  | { readonly kind: 'renew' }
  | { readonly kind: 'moved' }
  | { readonly kind: 'notice'; readonly notice: Notice }
  | { readonly kind: 'lost'; readonly error: CvmpError };

/** Events of the session in use and of timers, in their order. */
export class HoldEvents {
  #queue: HoldEvent[] = [];
  #session: KeySession | undefined;
  #timers = 0;
  #wake = () => {};

  /** From now on the events of this session count, and none of the one before. */
  follow(session: KeySession): void {
    if (session === this.#session) return;
    this.#session = session;
    this.#queue = [];
    const put = (event: HoldEvent) => {
      if (session === this.#session) this.#put(event);
    };
    session.onNotice((notice) => put({ kind: 'notice', notice }));
    void session.ended.then((error) => put({ kind: 'lost', error }));
  }

  /** The timers that were set are over. */
  forgetTimers(): void {
    this.#timers += 1;
    this.#queue = this.#queue.filter(({ kind }) => kind !== 'renew' && kind !== 'moved');
  }

  /** Puts the event when the timer is over, unless timers are forgotten by then. */
  after(timer: Promise<void>, event: HoldEvent): void {
    const timers = this.#timers;
    const put = () => {
      if (timers === this.#timers) this.#put(event);
    };
    // Rejected, the agent is told to end, which it hears of elsewhere.
    timer.then(put).catch(() => {});
  }

  async next(): Promise<HoldEvent> {
    for (;;) {
      const event = this.#queue.shift();
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #put(event: HoldEvent): void {
    this.#queue.push(event);
    this.#wake();
  }
}
