import type { Logger } from 'pino';
import { errorFields, logField } from '#server/host/log.js';
import type { Everything, Store } from '../store/store.js';
import { Creation, type CreationLimits } from './creation.js';
import { type HostSide, Operations } from './operations.js';
import { Registry } from './registry.js';
import { Turns } from './turns.js';

export interface LifecycleOptions {
  readonly store: Store;
  /** What the store held when it was opened. */
  readonly everything: Everything;
  readonly host: HostSide;
  readonly limits: CreationLimits;
  readonly cvmsMaxOf?: (tenantId: string) => number | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly log: Logger;
}

/** The CVMs of one platform, from their creation to their end. */
export class Lifecycle {
  readonly registry: Registry;
  readonly operations: Operations;
  readonly creation: Creation;
  readonly #turns = new Turns();
  readonly #options: LifecycleOptions;
  #unwatch: () => void = () => {};

  constructor(options: LifecycleOptions) {
    const { store, everything, host, log } = options;
    this.#options = options;
    this.registry = new Registry(store, everything);
    this.operations = new Operations(this.registry, host, this.#turns, log);
    this.creation = new Creation({
      ...options,
      registry: this.registry,
      operations: this.operations,
      undefine: (cvmId) => host.driver.undefine(cvmId),
    });
  }

  /**
   * Finishes or undoes what was under way when the platform ended, finds every CVM again, and from
   * then on follows the host.
   */
  async recover(): Promise<void> {
    const { host, log } = this.#options;
    this.#unwatch = host.driver.watch((cvmId) => this.operations.observe(cvmId));
    const requests = [...this.registry.requests()];
    await Promise.all([
      ...requests.map((request) =>
        this.creation.finish(request).catch((error) => {
          log.warn({ [logField.cvmIds]: request.cvmIds, ...errorFields(error) }, 'creation undone');
        }),
      ),
      ...this.registry.all().map((cvm) => this.operations.resume(cvm)),
    ]);
    for (const cvm of this.registry.all()) this.operations.observe(cvm.cvmId);
    await this.#turns.idle();
  }

  /** Waits for the operations that are under way; CVMs go on. */
  async close(): Promise<void> {
    this.#unwatch();
    await this.#turns.idle();
  }
}
