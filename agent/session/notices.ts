import { isErrorCode } from '#core/errors.js';
import { NoticeKind, type SessionNotice } from '#gen/cvmp/v1/key_pb.js';
import type { Notice } from './key-session.js';

const kinds: ReadonlyMap<NoticeKind, Notice['kind']> = new Map([
  [NoticeKind.POLICY_CHANGED, 'policy changed'],
  [NoticeKind.REATTEST_REQUIRED, 'reattest required'],
  [NoticeKind.KEY_SUSPENDED, 'key suspended'],
  [NoticeKind.KEY_RESUMED, 'key resumed'],
  [NoticeKind.KEY_DESTROYED, 'key destroyed'],
  [NoticeKind.KEY_TAKEN_OVER, 'key taken over'],
  [NoticeKind.REKEY_ADVISED, 'rekey advised'],
  [NoticeKind.SHUTTING_DOWN, 'shutting down'],
]);

/** Notices that are kept for a listener who is not there yet; no honest session has that many. */
const keptMax = 64;

/** Notices in their order, kept until somebody listens. */
export class Notices {
  #kept: Notice[] = [];
  #listener: ((notice: Notice) => void) | undefined;

  listen(listener: (notice: Notice) => void): void {
    this.#listener = listener;
    for (const notice of this.#kept.splice(0)) listener(notice);
  }

  /** A newer Key Server may tell of what this agent does not know: that is read over. */
  received({ kind, keyId, level, svnFloor, code }: SessionNotice): void {
    const known = kinds.get(kind);
    if (known === undefined) return;
    const notice: Notice = {
      kind: known,
      keyId: keyId.length === 16 ? keyId : undefined,
      level,
      svnFloor,
      code: code === '' ? undefined : isErrorCode(code) ? code : 'POLICY_REFUSED',
    };
    if (this.#listener !== undefined) this.#listener(notice);
    else if (this.#kept.length < keptMax) this.#kept.push(notice);
  }
}
