import { equalBytes } from '#core/bytes.js';
import { CvmpError, type ErrorCode, errorTable } from '#core/errors.js';
import type { Attester } from '../attester/attester.js';
import type { AgentConfig } from '../config.js';
import { codedError, errorFields, logField } from '../log.js';
import { isPassing } from '../provision/backoff.js';
import { type ExchangeOptions, exchangeOver, type KeyInUse } from '../provision/exchange.js';
import { reconnectDelay, renewalDelay } from '../provision/lease.js';
import type { KeySession, Notice } from '../session/key-session.js';
import { chipOf } from './chip.js';
import { type HoldEvent, HoldEvents } from './events.js';
import { runHook } from './hook.js';

export interface HoldOptions extends ExchangeOptions {
  readonly config: Pick<
    AgentConfig,
    'purpose' | 'rekey' | 'onKeyLoss' | 'noticeHook' | 'migrationCheckSeconds'
  >;
  readonly attester: Attester;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** From 0 up to but not including 1. */
  readonly random: () => number;
  /** Rejects with CvmpError CANCELLED where the agent is told to end. */
  readonly sleep: (ms: number) => Promise<void>;
  /** An exchange over a new connection, tried again while the Key Server cannot be reached. */
  readonly reconnect: (keyId: Uint8Array | undefined) => Promise<KeyInUse>;
}

/** Codes that a notice about a key stands for. */
const lossOf: Partial<Record<Notice['kind'], ErrorCode>> = {
  'key suspended': 'KEY_SUSPENDED',
  'key destroyed': 'KEY_DESTROYED',
  'key taken over': 'INSTANCE_CONFLICT',
};

/**
 * Holds the session after the delivery: attests again well before each end of the lease, when the
 * CVM was moved to another chip, and when the Key Server asks; re-keys the disk when the tenant raises
 * the floor; tells who watches of what is lost. It never closes a disk: a key that was delivered
 * cannot be taken back.
 */
export class Holder {
  readonly #options: HoldOptions;
  readonly #events = new HoldEvents();
  /** Undefined while the Key Server cannot be reached. */
  #session: KeySession | undefined;
  #leaseExpires: number;
  #chip: Uint8Array | undefined;
  #closed = false;

  constructor(options: HoldOptions, { session, leaseExpires }: KeyInUse) {
    this.#options = options;
    this.#session = session;
    this.#leaseExpires = leaseExpires;
  }

  /**
   * Until the agent is told to end.
   * @throws CvmpError where access is refused; CANCELLED
   */
  async run(): Promise<never> {
    const { attester, randomBytes, config } = this.#options;
    if (config.migrationCheckSeconds > 0) this.#chip = await chipOf(attester, randomBytes);
    this.#follow();
    for (;;) await this.#react(await this.#events.next());
  }

  close(): void {
    this.#closed = true;
    this.#session?.close();
  }

  async #react(event: HoldEvent): Promise<void> {
    if (event.kind === 'notice') return this.#noticed(event.notice);
    if (event.kind === 'lost') return this.#reconnect(event.error);
    if (event.kind === 'moved' && !(await this.#isMoved())) return this.#watchChip();
    return this.#renew();
  }

  /** Fresh evidence on the stream that there is, then the key as it is now. */
  async #renew(): Promise<void> {
    const session = this.#session;
    if (session === undefined) return this.#reconnect(undefined);
    this.#options.status.enter('attesting');
    try {
      const { leaseExpires } = await session.reattest();
      this.#leaseExpires = leaseExpires;
    } catch (error) {
      if (!isPassing(error)) throw error;
      return this.#reconnect(error);
    }
    // Refused its key, the agent is attested all the same, and hears when that changes.
    await this.#refresh();
    this.#follow();
  }

  /** Not at once: a fleet that lost its Key Server must not come back at one instant. */
  async #reconnect(cause: CvmpError | undefined): Promise<void> {
    const { log, now, random, sleep, status, reconnect } = this.#options;
    this.#session?.close();
    this.#session = undefined;
    if (cause !== undefined) {
      log.warn(errorFields(cause), 'session lost');
      await sleep(reconnectDelay(this.#leaseExpires, now(), random()));
    }
    try {
      const inUse = await reconnect(status.current.keyId);
      this.#session = inUse.session;
      // The agent was told to end meanwhile.
      if (this.#closed) this.#session.close();
      this.#delivered(inUse);
    } catch (error) {
      if (!isPassing(error)) throw error;
      log.warn(errorFields(error), 'lease not renewed');
    }
    this.#follow();
  }

  /** Events and timers of the session as it is now. */
  #follow(): void {
    const { now, random, sleep } = this.#options;
    if (this.#session !== undefined) this.#events.follow(this.#session);
    this.#events.forgetTimers();
    const delay = renewalDelay(this.#leaseExpires, now(), random());
    this.#events.after(sleep(delay), { kind: 'renew' });
    this.#watchChip();
  }

  async #noticed(notice: Notice): Promise<void> {
    const { log, status } = this.#options;
    const { kind, keyId, code, svnFloor } = notice;
    const own = status.current.keyId;
    const isOwn = keyId === undefined || (own !== undefined && equalBytes(keyId, own));
    if (!isOwn) return;
    log.info({ [logField.notice]: kind, [logField.code]: code }, 'notice');
    const loss = lossOf[kind] ?? (kind === 'policy changed' ? code : undefined);
    if (loss !== undefined) return this.#lost(kind, loss);
    if (kind === 'reattest required') return this.#renew();
    const isBack = status.current.phase === 'refused' && kind !== 'shutting down';
    const isRaised = kind === 'policy changed' && svnFloor > status.current.svn;
    if (isBack || isRaised || kind === 'rekey advised') await this.#refresh();
    if (kind === 'key resumed') await this.#hook(kind, undefined);
  }

  /** The key as it is now, over the session as it is. */
  async #refresh(): Promise<void> {
    if (this.#session === undefined) return;
    try {
      await this.#exchange(this.#session);
    } catch (caught) {
      // The stream that was lost is an event of its own.
      if (isPassing(caught)) return;
      const error = codedError(caught);
      if (error.code === 'INTERNAL') throw error;
      await this.#lost('access lost', error.code);
    }
  }

  async #exchange(session: KeySession): Promise<void> {
    const { keyId } = this.#options.status.current;
    this.#delivered(await exchangeOver({ ...this.#options, keyId }, session));
  }

  #delivered({ key, svn, svnFloor, action, leaseExpires }: KeyInUse): void {
    const { status } = this.#options;
    key.fill(0);
    this.#leaseExpires = leaseExpires;
    const diskAction = action === 'rekeyed' ? action : status.current.diskAction;
    status.enter('delivered', { svn, svnFloor, diskAction });
  }

  /** Told to who asks and to the tenant's program; then as the tenant has configured. */
  async #lost(what: string, code: ErrorCode): Promise<void> {
    const { status, config } = this.#options;
    const { meaning } = errorTable[code];
    status.enter('refused', { code, message: meaning });
    const error = new CvmpError(code, meaning);
    await this.#hook(what, error);
    const isFinal = what === 'key destroyed' || what === 'key taken over';
    if (isFinal && config.onKeyLoss === 'exit') throw error;
  }

  #hook(what: string, error: CvmpError | undefined): Promise<void> {
    const { config, log, status } = this.#options;
    return runHook(config.noticeHook, { what, keyId: status.current.keyId, error }, log);
  }

  #watchChip(): void {
    const { config, sleep } = this.#options;
    if (this.#chip === undefined) return;
    this.#events.after(sleep(config.migrationCheckSeconds * 1000), { kind: 'moved' });
  }

  /** Whether another processor signs now: the CVM was migrated (protocol.md s.6.5). */
  async #isMoved(): Promise<boolean> {
    const { attester, randomBytes, log } = this.#options;
    try {
      const chip = await chipOf(attester, randomBytes);
      if (chip === undefined || equalBytes(chip, this.#chip!)) return false;
      this.#chip = chip;
      log.info('the CVM was moved to another chip');
      return true;
    } catch (error) {
      log.warn(errorFields(codedError(error)), 'own report not to be had');
      return false;
    }
  }
}
