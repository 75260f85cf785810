import { CvmpError } from '#core/errors.js';

/** What waits for one CVM beyond this is turned away. */
const waitingMax = 16;

interface Queue {
  last: Promise<unknown>;
  length: number;
}

/** One operation at a time for each CVM; the others wait for their turn in the order they came. */
export class Turns {
  readonly #queues = new Map<string, Queue>();

  /** @throws CvmpError RATE, and what `work` throws */
  async take<T>(cvmId: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(cvmId) ?? { last: Promise.resolve(), length: 0 };
    if (queue.length >= waitingMax) {
      throw new CvmpError('RATE', `${waitingMax} operations wait for ${cvmId}`);
    }
    this.#queues.set(cvmId, queue);
    queue.length++;
    const result = queue.last.then(work);
    queue.last = result.catch(() => undefined);
    try {
      return await result;
    } finally {
      queue.length--;
      if (queue.length === 0) this.#queues.delete(cvmId);
    }
  }

  /** Resolves when nobody works or waits any more. */
  async idle(): Promise<void> {
    while (this.#queues.size > 0) await Promise.all([...this.#queues.values()].map((q) => q.last));
  }
}
