import type { AcquiredKey, Grant, KeySession, ReleasedKey } from '#agent/session/key-session.js';
import { equalBytes, toHex, utf8 } from '#core/bytes.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { keyCheckValue } from '#core/keying/derivation.js';
import { crypto } from '#crypto';

interface FakeKey {
  /** By epoch; undefined where it is retired. */
  readonly rootKeys: (Uint8Array | undefined)[];
  floor: number;
  retired: number;
  active: boolean;
}

type Method = 'alloc' | 'acquire' | 'update' | 'confirm';

/** One tenant's keys under the SVN rules of protocol.md s.6.4, in memory. */
export class FakeKeyServer {
  readonly keys = new Map<string, FakeKey>();
  readonly calls: string[] = [];
  readonly #answered = new Map<string, ReleasedKey>();
  readonly #policyFloor: number;
  /** Fails the next call of a method, before or after it took effect. */
  failNext: { method: Method; code: ErrorCode; tookEffect: boolean } | undefined;
  /** Sees every Security Key that leaves. */
  onRelease: (key: Uint8Array) => void = () => {};

  constructor(policyFloor = 1) {
    this.#policyFloor = policyFloor;
  }

  get onlyKey(): FakeKey {
    if (this.keys.size !== 1) throw new Error(`${this.keys.size} keys`);
    return [...this.keys.values()][0]!;
  }

  /** A session of an agent that proves `level`. */
  session(level: number, grant: Partial<Grant> = {}): KeySession {
    const call = <T>(method: Method, detail: string, work: () => T) =>
      this.#call(method, detail, work);
    const granted: Grant = {
      level,
      leaseExpires: 0,
      signedPolicy: new Uint8Array(0),
      tenantKey: new Uint8Array(0),
      keyRotations: [],
      simulated: true,
      ...grant,
    };
    return {
      grant: granted,
      ended: new Promise(() => {}),
      reattest: async () => granted,
      alloc: ({ requestId, keyId }) =>
        call('alloc', toHex(keyId ?? new Uint8Array(0)), () => {
          const before = this.#answered.get(toHex(requestId));
          if (before !== undefined) return { ...before, key: before.key.slice() };
          const id = keyId ?? crypto.randomBytes(16);
          if (keyId === undefined) {
            const floor = this.#policyFloor;
            this.keys.set(toHex(id), {
              rootKeys: [crypto.randomBytes(32)],
              floor,
              retired: 0,
              active: false,
            });
          }
          const key = this.#find(id, level);
          const released = this.#release(id, key, key.floor, key.rootKeys.length);
          this.#answered.set(toHex(requestId), { ...released, key: released.key.slice() });
          return released;
        }),
      acquire: (keyId, svn, reason, asked) =>
        call('acquire', `${svn} ${reason}`, (): AcquiredKey => {
          const key = this.#find(keyId, level);
          const newest = key.rootKeys.length;
          const epoch = asked ?? newest;
          const wanted = svn ?? key.floor;
          if (wanted > level) throw new CvmpError('SVN_ABOVE_LEVEL', 'above');
          if (wanted < key.retired) throw new CvmpError('KEY_RETIRED', 'retired');
          const rekeyAdvised = key.floor > wanted || level > key.floor || epoch < newest;
          const released = this.#release(keyId, key, wanted, epoch);
          return { ...released, level, rekeyAdvised, rekeySvn: level };
        }),
      update: (keyId, target, retire) =>
        call('update', `${target} ${retire?.svn}`, () => {
          const key = this.#find(keyId, level);
          if (!key.active) throw new CvmpError('KEY_STATE', 'not active');
          if (target > level) throw new CvmpError('SVN_ABOVE_LEVEL', 'above');
          if (target < key.floor) throw new CvmpError('SVN_NOT_INCREASING', 'below');
          key.floor = target;
          key.retired = Math.max(key.retired, retire?.svn ?? 0);
          key.rootKeys.fill(undefined, 0, (retire?.epoch ?? 1) - 1);
        }),
      confirm: ({ keyId, svn, epoch, kcv }) =>
        call('confirm', `${svn}`, () => {
          const key = this.#find(keyId, level);
          if (!equalBytes(kcv, keyCheckValue(this.#derive(keyId, key, svn, epoch)))) {
            throw new CvmpError('KCV_MISMATCH', 'another key');
          }
          key.active = true;
        }),
      onNotice: () => {},
      close: () => {},
    };
  }

  async #call<T>(method: Method, detail: string, work: () => T): Promise<T> {
    const failure = this.failNext?.method === method ? this.failNext : undefined;
    if (failure !== undefined) this.failNext = undefined;
    if (failure?.tookEffect === false) throw new CvmpError(failure.code, 'as the test asks');
    this.calls.push(`${method} ${detail}`.trim());
    const result = work();
    if (failure !== undefined) throw new CvmpError(failure.code, 'as the test asks');
    return result;
  }

  #find(keyId: Uint8Array, level: number): FakeKey {
    const key = this.keys.get(toHex(keyId));
    if (key === undefined) throw new CvmpError('NOT_FOUND', 'no such key');
    if (level < key.floor) throw new CvmpError('SVN_BELOW_FLOOR', 'below the floor');
    return key;
  }

  #derive(keyId: Uint8Array, { rootKeys }: FakeKey, svn: number, epoch: number): Uint8Array {
    const rootKey = rootKeys[epoch - 1];
    if (rootKey !== undefined) return crypto.hmac('sha256', rootKey, keyId, utf8(`${svn}`));
    throw new CvmpError(epoch > rootKeys.length ? 'NOT_FOUND' : 'KEY_RETIRED', 'no such epoch');
  }

  #release(keyId: Uint8Array, key: FakeKey, svn: number, epoch: number): ReleasedKey {
    const securityKey = this.#derive(keyId, key, svn, epoch);
    this.onRelease(securityKey);
    const kcv = keyCheckValue(securityKey);
    return { keyId, key: securityKey, svn, epoch, kcv, svnFloor: key.floor };
  }
}
