import type { Logger } from 'pino';
import { CvmpError } from '#core/errors.js';
import { errorFields, logField } from '#server/host/log.js';
import type { CvmDefinition, HostDriver } from '../driver/driver.js';
import type { ImageCatalogue } from '../images.js';
import type { Cvm, Launch, LaunchSpec } from './cvm.js';
import type { Registry } from './registry.js';
import { type Operation, observations, outcome, transition } from './table.js';
import type { Turns } from './turns.js';

/** The host, and what it needs to be told. */
export interface HostSide {
  readonly driver: HostDriver;
  readonly images: Pick<ImageCatalogue, 'launchImage'>;
  /** How long a guest that is asked to end has for it, ms. */
  readonly shutdownGraceMs: number;
}

export interface OperationOptions {
  /** `stop`: without asking the guest. */
  readonly force?: boolean;
  /** `update`: what to put under the CVM. */
  readonly launch?: Launch;
}

/**
 * What is done to CVMs that exist. Each operation is journalled in the CVM's own record before the
 * host is asked and cleared when the host has done it, so that one function finishes it whether or
 * not the platform died in between.
 */
export class Operations {
  readonly #registry: Registry;
  readonly #host: HostSide;
  readonly #turns: Turns;
  readonly #log: Logger;

  constructor(registry: Registry, host: HostSide, turns: Turns, log: Logger) {
    this.#registry = registry;
    this.#host = host;
    this.#turns = turns;
    this.#log = log;
  }

  /**
   * Brings the CVM where the operation leads, or to `failed`.
   * @returns the CVM after it; for `delete`, as it was
   * @throws CvmpError NOT_FOUND, CVM_STATE, RATE, STORE_WRITE, and what the host refuses with
   */
  run(cvmId: string, operation: Operation, options: OperationOptions = {}): Promise<Cvm> {
    return this.#turns.take(cvmId, async () => {
      const cvm = this.#registry.get(cvmId);
      if (cvm === undefined) throw new CvmpError('NOT_FOUND', `no CVM ${cvmId}`, { field: 'cvm' });
      const step = transition(cvm.state, operation);
      if (step === undefined) return cvm;
      const journalled = {
        ...cvm,
        state: step.during,
        bootCount: cvm.bootCount + (operation === 'start' ? 1 : 0),
        pending: { operation, force: options.force ?? false, ...launchOf(options) },
      };
      await this.#registry.commit({ cvms: [journalled] });
      const done = await this.#finish(journalled, operation);
      // The guest may have ended while its start was on the way: then the host said so too early.
      this.observe(cvmId);
      return done;
    });
  }

  /** Finishes an operation that was journalled before the platform died. */
  resume(cvm: Cvm): Promise<unknown> {
    return this.#turns.take(cvm.cvmId, async () => {
      const operation = cvm.pending?.operation;
      if (operation === undefined || operation === 'create') return;
      try {
        await this.#finish(cvm, operation);
      } catch (error) {
        this.#log.warn(
          { [logField.cvmId]: cvm.cvmId, [logField.operation]: operation, ...errorFields(error) },
          'not finished',
        );
      }
    });
  }

  /** Looks at the host and follows it, in the CVM's next turn. */
  observe(cvmId: string): void {
    this.#turns
      .take(cvmId, async () => {
        const cvm = this.#registry.get(cvmId);
        const rules = cvm === undefined ? undefined : observations[cvm.state];
        if (cvm === undefined || cvm.pending !== undefined || rules === undefined) return;
        const seen = await this.#host.driver.inspect(cvmId);
        const state = rules[seen.run];
        if (state === undefined) return;
        const why = seen.run === 'crashed' ? seen.reason : 'the host does not know it any more';
        const message = state === 'failed' ? why : '';
        await this.#registry.commit({ cvms: [{ ...cvm, state, message }] });
      })
      .catch((error) => {
        this.#log.error({ [logField.cvmId]: cvmId, ...errorFields(error) }, 'host not followed');
      });
  }

  /** The definition as the host gets it. @throws CvmpError IMAGE_UNKNOWN */
  async define(cvmId: string, spec: LaunchSpec): Promise<void> {
    const image = await this.#host.images.launchImage(spec);
    const definition: CvmDefinition = { ...spec, cvmId, image };
    await this.#host.driver.define(definition);
  }

  async #finish(cvm: Cvm, operation: Operation): Promise<Cvm> {
    const { pending, ...rest } = cvm;
    try {
      await this.#ask(cvm, operation);
    } catch (error) {
      const reason = error instanceof CvmpError ? `${error.code}: ${error.message}` : 'a fault';
      const message = `${operation}: ${reason}`;
      await this.#registry.commit({ cvms: [{ ...rest, state: 'failed', message }] });
      throw error;
    }
    const state = outcome(cvm.state, operation);
    if (state === 'deleted') {
      await this.#registry.commit({ removedCvms: [rest] });
      return rest;
    }
    const after: Cvm = { ...rest, ...launchOf(pending), state, message: '' };
    await this.#registry.commit({ cvms: [after] });
    return after;
  }

  /** What each operation asks of the host. All of it may be asked twice. */
  async #ask(cvm: Cvm, operation: Operation): Promise<void> {
    const { driver, shutdownGraceMs } = this.#host;
    const { cvmId, pending } = cvm;
    switch (operation) {
      case 'start':
        if ((await driver.inspect(cvmId)).run === 'running') return;
        // Told again at each start: the files may lie elsewhere, or may have been changed.
        await this.define(cvmId, cvm.launch.spec);
        await driver.start(cvmId);
        return;
      case 'stop':
        if (pending?.force || !(await driver.shutdown(cvmId, shutdownGraceMs))) {
          await driver.destroy(cvmId);
        }
        return;
      case 'update':
        await this.define(cvmId, (pending?.launch ?? cvm.launch).spec);
        return;
      case 'delete':
        await driver.undefine(cvmId);
    }
  }
}

function launchOf(from: { readonly launch?: Launch } | undefined): { launch?: Launch } {
  return from?.launch === undefined ? {} : { launch: from.launch };
}
