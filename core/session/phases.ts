import { CvmpError } from '../errors.js';

/**
 * The order of a handshake. A step runs in its own phase only, one at a time; the first failure
 * ends the session for good, and what held keys is told to forget them.
 */
export class Phases<Phase extends string> {
  #phase: Phase | 'busy' | 'dead';
  readonly #forget: () => void;

  constructor(first: Phase, forget: () => void) {
    this.#phase = first;
    this.#forget = forget;
  }

  /** True once nothing more can happen. */
  get dead(): boolean {
    return this.#phase === 'dead';
  }

  /** Moves from one phase (of these) to the next by `work`. @throws CvmpError PROTOCOL_ORDER */
  async step<T>(from: Phase | readonly Phase[], to: Phase, work: () => Promise<T>): Promise<T> {
    this.#demand(from);
    this.#phase = 'busy';
    try {
      const result = await work();
      // Closed meanwhile: what the work left behind is forgotten too.
      if (this.#phase !== 'busy') throw this.#wrongOrder();
      this.#phase = to;
      return result;
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** {@link step} without waiting. */
  stepNow<T>(from: Phase | readonly Phase[], to: Phase, work: () => T): T {
    this.#demand(from);
    try {
      const result = work();
      this.#phase = to;
      return result;
    } catch (error) {
      this.end();
      throw error;
    }
  }

  end(): void {
    this.#phase = 'dead';
    this.#forget();
  }

  #demand(phases: Phase | readonly Phase[]): void {
    const allowed: readonly unknown[] = typeof phases === 'string' ? [phases] : phases;
    if (allowed.includes(this.#phase)) return;
    const error = this.#wrongOrder();
    this.end();
    throw error;
  }

  #wrongOrder(): CvmpError {
    return new CvmpError('PROTOCOL_ORDER', `the session is ${this.#phase}`);
  }
}
