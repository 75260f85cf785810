import type { ErrorCode } from '#core/errors.js';
import type { DiskAction } from './provision/obtain.js';

/** Where the agent is (GuestService, AgentPhase). */
export type AgentPhase =
  | 'starting'
  | 'attesting'
  | 'retrying'
  | 'key released'
  | 'delivered'
  | 'refused'
  | 'failed';

/** What the agent says of itself; informative, holds no secret. */
export interface AgentStatus {
  readonly phase: AgentPhase;
  /** Set where it was refused, failed, or is trying again. */
  readonly code: ErrorCode | undefined;
  readonly message: string;
  /** KeyID in use, 16 bytes. */
  readonly keyId: Uint8Array | undefined;
  readonly svn: number;
  readonly svnFloor: number;
  readonly level: number;
  readonly diskAction: DiskAction;
  /** Guest's clock, milliseconds since 1970. */
  readonly time: number;
}

/** The status, and everybody who watches it. */
export class StatusBoard {
  readonly #now: () => number;
  readonly #watchers = new Set<() => void>();
  #current: AgentStatus;

  constructor(now: () => number) {
    this.#now = now;
    this.#current = {
      phase: 'starting',
      code: undefined,
      message: '',
      keyId: undefined,
      svn: 0,
      svnFloor: 0,
      level: 0,
      diskAction: '',
      time: now(),
    };
  }

  get current(): AgentStatus {
    return this.#current;
  }

  /** Enters a phase; what is not said of the key stays, code and message do not. */
  enter(phase: AgentPhase, change: Partial<Omit<AgentStatus, 'phase' | 'time'>> = {}): void {
    const time = this.#now();
    this.#current = { ...this.#current, code: undefined, message: '', ...change, phase, time };
    for (const wake of this.#watchers) wake();
  }

  /**
   * The current status, then each change; a watcher that is slow sees the newest. Ends with
   * `signal`, not before the last one was told.
   */
  async *watch(signal: AbortSignal): AsyncGenerator<AgentStatus> {
    let seen: AgentStatus | undefined;
    let wake = () => {};
    const onChange = () => wake();
    this.#watchers.add(onChange);
    signal.addEventListener('abort', onChange);
    try {
      for (;;) {
        const next = this.#current;
        if (next !== seen) {
          seen = next;
          yield next;
        } else if (signal.aborted) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#watchers.delete(onChange);
      signal.removeEventListener('abort', onChange);
    }
  }
}
