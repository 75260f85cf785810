import { equalBytes, toHex } from '#core/bytes.js';
import type { SessionNotice } from '#gen/cvmp/v1/key_pb.js';
import { NoticeKind } from '#gen/cvmp/v1/key_pb.js';
import type { LiveSession, Notice } from '../notices.js';
import type { SessionGrant } from '../release/contract.js';

/** A notice as it is sent; what it does not say is left out. */
export type NoticeFields = Partial<Omit<SessionNotice, '$typeName' | '$unknown'>>;

/** Keys of a session that are remembered, the last ones that it named. */
const keysMax = 64;
/** Notices that wait for an agent that does not read; the newest of each kind and key count. */
const waitingMax = 2 * keysMax;

const kinds: Readonly<Record<Exclude<Notice['kind'], 'policy-changed'>, NoticeKind>> = {
  'key-suspended': NoticeKind.KEY_SUSPENDED,
  'key-resumed': NoticeKind.KEY_RESUMED,
  'key-destroyed': NoticeKind.KEY_DESTROYED,
  'key-taken-over': NoticeKind.KEY_TAKEN_OVER,
  'rekey-advised': NoticeKind.REKEY_ADVISED,
  'shutting-down': NoticeKind.SHUTTING_DOWN,
};

/** One session's side of the notice board: picks what concerns it, and holds back what must wait. */
export class ToldSession implements LiveSession {
  readonly tenantId: string;
  readonly #send: (notice: NoticeFields) => void;
  readonly #keys = new Set<string>();
  readonly #waiting = new Map<string, NoticeFields>();
  #grant: SessionGrant;
  #lastKey: Uint8Array = new Uint8Array();
  #held = false;

  constructor(grant: SessionGrant, send: (notice: NoticeFields) => void) {
    this.tenantId = grant.tenantId;
    this.#grant = grant;
    this.#send = send;
  }

  get grant(): SessionGrant {
    return this.#grant;
  }

  /** The session has attested again. */
  set grant(grant: SessionGrant) {
    this.#grant = grant;
  }

  /** Keys that requests of this session named, KeyIDs in hex. */
  get keys(): ReadonlySet<string> {
    return this.#keys;
  }

  /** Remembers that the session uses this key. Cheap where it is the one of the last call. */
  uses(keyId: Uint8Array): void {
    if (keyId.length === 0 || equalBytes(keyId, this.#lastKey)) return;
    this.#lastKey = keyId;
    const name = toHex(keyId);
    this.#keys.delete(name);
    this.#keys.add(name);
    const oldest = this.#keys.values().next();
    if (this.#keys.size > keysMax && !oldest.done) this.#keys.delete(oldest.value);
  }

  tell(notice: Notice): void {
    const fields = this.#fieldsOf(notice);
    if (fields === undefined) return;
    if (!this.#held) {
      this.#send(fields);
      return;
    }
    const name = `${fields.kind} ${toHex(fields.keyId ?? new Uint8Array())}`;
    this.#waiting.delete(name);
    if (this.#waiting.size < waitingMax) this.#waiting.set(name, fields);
  }

  /** The agent does not read: notices wait, so that they cannot fill memory. */
  hold(): void {
    this.#held = true;
  }

  /** The agent reads again. */
  release(): void {
    this.#held = false;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const fields of waiting) this.#send(fields);
  }

  #fieldsOf(notice: Notice): NoticeFields | undefined {
    if (notice.kind === 'policy-changed') {
      const standing = notice.standing(this.#grant);
      if (standing === undefined) return undefined;
      const { level, svnFloor, code } = standing;
      const kind =
        code === 'REATTEST_REQUIRED' ? NoticeKind.REATTEST_REQUIRED : NoticeKind.POLICY_CHANGED;
      return { kind, level, svnFloor, code: code ?? '' };
    }
    const kind = kinds[notice.kind];
    if (notice.kind === 'shutting-down') return { kind };
    return this.#keys.has(toHex(notice.keyId)) ? { kind, keyId: notice.keyId } : undefined;
  }
}
