import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { GuestStatusResponse } from '#gen/cvmp/v1/guest_pb.js';
import { logField } from '#server/host/log.js';
import type { GuestClient } from './client.js';

/** Dense at first: a guest that is refused at once has its last word early. */
const retryMs = { first: 20, growth: 1.25, most: 2_000 } as const;
/** How long what a guest said before it ended may be on the way. */
const lastWordsMs = 2_000;

/** Listens to the status of one guest from one start to its end, however often the stream breaks. */
export class Follower {
  /** Resolves when nothing more is heard. */
  readonly done: Promise<void>;
  readonly #abort = new AbortController();
  #over = false;
  #lastWords: NodeJS.Timeout | undefined;

  constructor(
    connect: () => GuestClient,
    heard: (status: GuestStatusResponse) => void,
    log: Logger,
  ) {
    this.done = this.#follow(connect, heard, log).finally(() => clearTimeout(this.#lastWords));
  }

  /** The guest has ended: what it said last is still heard, then no more. */
  end(): void {
    this.#over = true;
    this.#lastWords ??= setTimeout(() => this.#abort.abort(), lastWordsMs);
  }

  abort(): void {
    this.#over = true;
    this.#abort.abort();
  }

  async #follow(
    connect: () => GuestClient,
    heard: (status: GuestStatusResponse) => void,
    log: Logger,
  ): Promise<void> {
    const { signal } = this.#abort;
    let waitMs: number = retryMs.first;
    while (!this.#over) {
      const guest = connect();
      try {
        for await (const status of guest.service.guestStatus({}, { signal })) {
          waitMs = retryMs.first;
          heard(status);
        }
      } catch (error) {
        const reason = error instanceof Error ? error.message : 'unknown';
        log.debug({ [logField.reason]: reason }, 'guest not heard');
      } finally {
        guest.close();
      }
      if (!this.#over) await delay(waitMs, undefined, { signal }).catch(() => undefined);
      waitMs = Math.min(retryMs.growth * waitMs, retryMs.most);
    }
  }
}
