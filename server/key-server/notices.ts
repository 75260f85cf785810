import type { ErrorCode } from '#core/errors.js';
import type { SessionGrant } from './release/contract.js';

/** What the next request of a session would be decided on. */
export interface Standing {
  /** Level that the claims of the session prove now; 0: none. */
  readonly level: number;
  /** Of the policy. */
  readonly svnFloor: number;
  /** What requests are refused with; undefined: they are not. */
  readonly code: ErrorCode | undefined;
}

/** What sessions are told of without having asked (NoticeKind of proto/cvmp/v1/key.proto). */
export type Notice =
  | {
      readonly kind: 'policy-changed';
      /** undefined: the change does not concern this session. Never throws CvmpError. */
      readonly standing: (grant: SessionGrant) => Standing | undefined;
    }
  | {
      readonly kind:
        | 'key-suspended'
        | 'key-resumed'
        | 'key-destroyed'
        | 'key-taken-over'
        | 'rekey-advised';
      /** 16 bytes. Sessions that never named it are not told. */
      readonly keyId: Uint8Array;
    }
  | { readonly kind: 'shutting-down' };

/** An attested session while its stream is open. */
export interface LiveSession {
  readonly tenantId: string;
  /** Of its last attestation. */
  readonly grant: SessionGrant;
  /** Keys that its requests named, KeyIDs in hex. */
  readonly keys: ReadonlySet<string>;
  /** Passes on what concerns it. Must not throw. */
  tell(notice: Notice): void;
}

/** Sessions that are told before others get their turn: some milliseconds of work. */
const toldAtOnce = 64;

/**
 * Live sessions by tenant, and who tells them. Notices are no part of any decision: they are
 * published once it is durable, and a session that misses one meets the decision at its next
 * request. They are told in slices, so that a tenant with ten thousand sessions delays nobody.
 */
export class NoticeBoard {
  readonly #sessions = new Map<string, Set<LiveSession>>();

  /** @returns what takes the session off the board */
  register(session: LiveSession): () => void {
    const { tenantId } = session;
    const own = this.#sessions.get(tenantId) ?? new Set();
    this.#sessions.set(tenantId, own.add(session));
    return () => {
      own.delete(session);
      if (own.size === 0 && this.#sessions.get(tenantId) === own) this.#sessions.delete(tenantId);
    };
  }

  /** Live sessions of a tenant. */
  count(tenantId: string): number {
    return this.#sessions.get(tenantId)?.size ?? 0;
  }

  /** Live sessions of all tenants. */
  get size(): number {
    let all = 0;
    for (const own of this.#sessions.values()) all += own.size;
    return all;
  }

  /**
   * Tells the sessions of a tenant. Only after what it tells of is durable.
   * @returns their number
   */
  publish(tenantId: string, notice: Notice): number {
    const own = this.#sessions.get(tenantId);
    if (own === undefined) return 0;
    tellAll([...own], own, notice);
    return own.size;
  }

  /** Live sessions of a tenant. */
  of(tenantId: string): readonly LiveSession[] {
    return [...(this.#sessions.get(tenantId) ?? [])];
  }

  /** Tells every session. */
  publishToAll(notice: Extract<Notice, { kind: 'shutting-down' }>): void {
    for (const own of this.#sessions.values()) tellAll([...own], own, notice);
  }
}

/** The first slice at once, each next one after what else is waiting. */
function tellAll(
  sessions: readonly LiveSession[],
  live: ReadonlySet<LiveSession>,
  notice: Notice,
): void {
  for (const session of sessions.slice(0, toldAtOnce)) if (live.has(session)) session.tell(notice);
  const rest = sessions.slice(toldAtOnce);
  if (rest.length > 0) setImmediate(() => tellAll(rest, live, notice));
}
