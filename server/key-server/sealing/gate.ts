import type { DescService } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { TenantRegistry } from '#server/host/callers/tenants.js';
import type { BoundMethod, BoundService, StreamSender } from '#server/host/handlers.js';
import { errorFields } from '#server/host/log.js';
import type { Readiness } from '#server/host/observe/readiness.js';
import type { KeyServerState } from '../release/contract.js';
import type { MasterKey } from '../store/master-key.js';
import { Attempts } from './attempts.js';
import type { Created, Entry, Provider } from './provider.js';

/** What there is only while the master key is there. */
export interface Opened {
  readonly state: KeyServerState;
  /** In the order of the gate's service types. */
  readonly services: readonly BoundService[];
}

/** How far the unsealing is. */
export interface SealStatus {
  readonly isSealed: boolean;
  readonly provider: Provider['kind'];
  /** Entries so far and needed; both 0 where the provider opens by itself. */
  readonly entered: number;
  readonly needed: number;
}

export interface GateOptions {
  /** Of the configuration. */
  readonly provider: Provider;
  /** Describes the master key, from the vault. */
  readonly describe: () => Uint8Array;
  /** Opens the store. It closes the master key where it fails. */
  readonly open: (masterKey: MasterKey) => Promise<Opened>;
  readonly serviceTypes: readonly DescService[];
  readonly readiness: Readiness;
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

const preparationIdLength = 16;

type Sender = StreamSender<BoundMethod['method']['output']>;

/**
 * A Key Server that is sealed or not. Sealed, it has neither keys nor an open store, and answers every
 * call with SEALED; its ports, its callers' addresses and its health stay the same.
 */
export class SealGate {
  /** What the ports serve. */
  readonly services: readonly BoundService[];
  /** For whoever asks who calls. */
  readonly tenants: Pick<TenantRegistry, 'get'>;
  readonly #options: GateOptions;
  readonly #attempts: Attempts;
  readonly #streams = new Set<Sender>();
  /** What opens the master key in force. */
  #provider: Provider;
  #prepared: (Created & { readonly id: Uint8Array; readonly provider: Provider }) | undefined;
  #opened: Opened | undefined;
  #entry: Entry | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: GateOptions) {
    this.#options = options;
    this.#provider = options.provider;
    this.#attempts = new Attempts(options.now);
    this.services = options.serviceTypes.map((service, s) => ({
      service,
      methods: service.methods.map((method, m) => this.#method(method as never, s, m)),
    }));
    this.tenants = { get: (tenantId) => this.demand().state.tenants.get(tenantId) };
  }

  /** undefined while sealed. */
  get opened(): Opened | undefined {
    return this.#opened;
  }

  get status(): SealStatus {
    const { entered = 0, needed = 0 } = this.#entry ?? {};
    const isSealed = this.#opened === undefined;
    return { isSealed, provider: this.#provider.kind, entered, needed };
  }

  /** @throws CvmpError SEALED */
  demand(): Opened {
    if (this.#opened === undefined) throw sealed();
    return this.#opened;
  }

  /** Unseals where nobody has to enter anything; otherwise waits for it. @throws as GateOptions.open */
  start(): Promise<void> {
    return this.#inTurn(async () => {
      const { describe, readiness, log } = this.#options;
      const provider = this.#provider;
      const description = describe();
      this.#entry = provider.entry?.(description);
      if (provider.open !== undefined) {
        await this.#unseal(await provider.open(description));
        return;
      }
      readiness.set('SEALED', true);
      log.warn({}, 'sealed');
    });
  }

  /**
   * Takes one entry of a person, and overwrites it; nothing for providers that open by themselves.
   * @throws CvmpError MASTER_KEY, RATE, SEAL_STATE (it is not sealed), or why the store does not open
   */
  enter(secret: Uint8Array): Promise<SealStatus> {
    return this.#inTurn(async () => {
      try {
        if (this.#opened !== undefined) throw new CvmpError('SEAL_STATE', 'it is not sealed');
        this.#attempts.demand();
        const { describe } = this.#options;
        const provider = this.#provider;
        const masterKey =
          provider.open === undefined
            ? await this.#entry?.enter(secret)
            : await provider.open(describe());
        if (masterKey !== undefined) await this.#unseal(masterKey);
      } catch (error) {
        if (error instanceof CvmpError && error.code === 'MASTER_KEY') {
          this.#attempts.wrong();
          this.#options.log.warn(errorFields(error), 'unsealing refused');
        }
        throw error;
      } finally {
        secret.fill(0);
      }
      return this.status;
    });
  }

  /** Ends all sessions, forgets every key, closes the store. @throws CvmpError SEAL_STATE */
  seal(): Promise<void> {
    return this.#inTurn(async () => {
      const { readiness, log } = this.#options;
      const opened = this.#opened;
      if (opened === undefined) throw new CvmpError('SEAL_STATE', 'it is sealed');
      readiness.set('SEALED', true);
      this.#opened = undefined;
      for (const sender of [...this.#streams]) sender.fail(sealed());
      await opened.state.close();
      log.warn({}, 'sealed');
    });
  }

  /**
   * Makes a new master key; its shares can be handed over before it is in force.
   * @returns what names it, and its shares
   * @throws CvmpError SEALED, and as Provider.create
   */
  prepare(
    provider: Provider,
  ): Promise<{ readonly id: Uint8Array; readonly shares: Created['shares'] }> {
    return this.#inTurn(async () => {
      this.demand();
      this.#prepared?.masterKey.close();
      this.#prepared = undefined;
      const id = crypto.randomBytes(preparationIdLength);
      this.#prepared = { ...(await provider.create()), id, provider };
      return { id, shares: this.#prepared.shares };
    });
  }

  /**
   * Puts in force what was prepared.
   * @throws CvmpError SEALED, NOT_FOUND (another one was prepared since), STORE_*
   */
  commit(id: Uint8Array, progress: (done: number, total: number) => void): Promise<void> {
    return this.#inTurn(async () => {
      const { state } = this.demand();
      const prepared = this.#prepared;
      if (prepared === undefined || !equalBytes(prepared.id, id)) {
        throw new CvmpError('NOT_FOUND', 'no such master key is prepared');
      }
      this.#prepared = undefined;
      const { masterKey, provider } = prepared;
      await state.resealing.rekeyMaster(masterKey, progress);
      this.#provider = provider;
      this.#entry = provider.entry?.(masterKey.description);
      this.#options.log.warn({}, 'another master key is in force');
    });
  }

  /** Closes the store where it is open. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      this.#entry?.reset();
      this.#prepared?.masterKey.close();
      const opened = this.#opened;
      this.#opened = undefined;
      await opened?.state.close();
    });
  }

  async #unseal(masterKey: MasterKey): Promise<void> {
    const { open, readiness, log } = this.#options;
    this.#opened = await open(masterKey);
    readiness.set('SEALED', false);
    log.info({}, 'unsealed');
  }

  #method(method: BoundMethod['method'], s: number, m: number): BoundMethod {
    const target = <K extends BoundMethod['kind']>(kind: K, opened: Opened) => {
      const found = opened.services[s]?.methods[m];
      if (found?.kind !== kind) throw new TypeError(`${method.name} is not ${kind}`);
      return found as Extract<BoundMethod, { kind: K }>;
    };
    switch (method.methodKind) {
      case 'unary':
        return {
          kind: 'unary',
          method,
          handler: (request, context) =>
            this.#guarded((opened) => target('unary', opened).handler(request, context)),
        };
      case 'server_streaming':
        return {
          kind: 'server_streaming',
          method,
          handler: (request, context) =>
            target('server_streaming', this.demand()).handler(request, context),
        };
      case 'bidi_streaming':
        return {
          kind: 'bidi_streaming',
          method,
          handler: (sender, context) => {
            const receiver = target('bidi_streaming', this.demand()).handler(sender, context);
            this.#streams.add(sender);
            return {
              message: (message) => receiver.message(message),
              halfClosed: () => receiver.halfClosed(),
              drained: () => receiver.drained(),
              ...(receiver.draining && {
                draining: (error: CvmpError) => receiver.draining?.(error),
              }),
              closed: () => {
                this.#streams.delete(sender);
                receiver.closed();
              },
            };
          },
        };
    }
  }

  /** What fails because the keys were taken away meanwhile says so. */
  async #guarded<T>(work: (opened: Opened) => Promise<T>): Promise<T> {
    const opened = this.demand();
    try {
      return await work(opened);
    } catch (error) {
      throw this.#opened === opened ? error : sealed();
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

function sealed(): CvmpError {
  return new CvmpError('SEALED', 'the server waits for its master key');
}
