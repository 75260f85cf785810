import { CvmpError } from '#core/errors.js';

/** So much is verified before the store is used; a small one wholly. About 0.1 s. */
const firstBytes = 32 * 1024 * 1024;
/** Then 10 MB/s, about 3 % of a processor. */
const sliceBytes = 512 * 1024;
const sliceEvery = 50;
const again = 24 * 3_600_000;

interface Scrubbed {
  /** See {@link Database.verify}. */
  verify(): Generator<number, void>;
}

/**
 * Reads all of a store again and again, the first time as it is opened: LevelDB gives out bits that
 * flipped, and a name that has changed is a record that is not found.
 */
export class Scrub {
  readonly #store: Scrubbed;
  readonly #failed: (error: CvmpError) => void;
  #timer: NodeJS.Timeout | undefined;

  /** @param failed told of damage, at most once */
  constructor(store: Scrubbed, failed: (error: CvmpError) => void) {
    this.#store = store;
    this.#failed = failed;
  }

  /** The begin of it at once. @throws CvmpError STORE_CORRUPT */
  start(): void {
    const running = this.#store.verify();
    if (advance(running, firstBytes)) this.#later(this.#store.verify(), again);
    else this.#later(running, sliceEvery);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #later(running: Generator<number, void>, milliseconds: number): void {
    this.#timer = setTimeout(() => {
      try {
        if (advance(running, sliceBytes)) this.#later(this.#store.verify(), again);
        else this.#later(running, sliceEvery);
      } catch (error) {
        this.#failed(asFailure(error));
      }
    }, milliseconds).unref();
  }
}

/** @returns whether it has come to its end */
function advance(running: Generator<number, void>, bytes: number): boolean {
  for (let verified = 0; verified < bytes; ) {
    const { value, done } = running.next();
    if (done) return true;
    verified += value;
  }
  return false;
}

function asFailure(error: unknown): CvmpError {
  if (error instanceof CvmpError) return error;
  return new CvmpError('STORE_CORRUPT', 'the store could not be verified', { cause: error });
}
