import type fc from 'fast-check';
import { expect } from 'vitest';
import { toHex } from '#core/bytes.js';
import type { ErrorCode } from '#core/errors.js';
import type {
  AuditOperation,
  KeyServerState,
  StoredPolicy,
} from '#server/key-server/release/contract.js';
import { refusalOf } from '../../../refusal.js';
import { grantOf, levels, newKey, nextPolicy, openPlace, type Place, requestId } from '../state.js';

// The SVN rules (protocol.md s.6.4, s.6.9) told once more, as a model that random sequences of
// operations are held against: real store, real files, restarts in between.

export const levelCount = 8;

type Answer = ErrorCode | 'accepted';

export interface ModelKey {
  floor: number;
  retired: number;
  active: boolean;
}

export interface Model {
  readonly keys: ModelKey[];
  policyFloor: number;
  policyVersion: number;
}

export interface Real {
  readonly place: Place;
  state: KeyServerState;
  policy: StoredPolicy;
  readonly keyIds: Uint8Array[];
  /** Security Keys seen, by key and SVN. */
  readonly securityKeys: Map<string, string>;
  readonly marks: { floor: number; retired: number }[];
}

const floorOf = (model: Model, key: ModelKey) => Math.max(key.floor, model.policyFloor);

abstract class Operation implements fc.AsyncCommand<Model, Real> {
  abstract expected(model: Model): Answer;
  abstract apply(model: Model): void;
  abstract perform(real: Real): Promise<void>;
  /** The decision that must be the newest in the audit log then. */
  abstract readonly audited: AuditOperation | undefined;

  check(_: Readonly<Model>): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const expected = this.expected(model);
    expect(`${this}: ${await refusalOf(this.perform(real))}`).toBe(`${this}: ${expected}`);
    if (expected === 'accepted') this.apply(model);
    await invariants(model, real);
    if (this.audited === undefined) return;
    const { items } = await real.state.audit.list('acme', { pageSize: 1, pageToken: '' });
    // I5: the decision was durable before it was answered.
    const code = expected === 'accepted' ? undefined : expected;
    expect(items[0]).toMatchObject({ operation: this.audited, code });
  }
}

/** An operation on one of the keys that there are. */
abstract class KeyOperation extends Operation {
  readonly index: number;
  readonly level: number;

  constructor(index: number, level: number) {
    super();
    this.index = index;
    this.level = level;
  }

  override check(model: Readonly<Model>): boolean {
    return model.keys.length > 0;
  }

  key(model: Model): ModelKey {
    return model.keys[this.index % model.keys.length]!;
  }

  keyId(real: Real): Uint8Array {
    return real.keyIds[this.index % real.keyIds.length]!;
  }

  grant(real: Real) {
    return grantOf(real.policy, this.level, { cvmName: `web-${this.index}` });
  }
}

export class Allocate extends Operation {
  readonly audited = 'key_alloc';
  readonly level: number;
  readonly svn: number | undefined;

  constructor(level: number, svn: number | undefined) {
    super();
    this.level = level;
    this.svn = svn;
  }

  expected({ policyFloor }: Model): Answer {
    if (this.level < policyFloor) return 'SVN_BELOW_FLOOR';
    if ((this.svn ?? policyFloor) < policyFloor) return 'SVN_NOT_INCREASING';
    return (this.svn ?? policyFloor) > this.level ? 'SVN_ABOVE_LEVEL' : 'accepted';
  }

  apply(model: Model): void {
    const floor = this.svn ?? model.policyFloor;
    model.keys.push({ floor, retired: floor, active: false });
  }

  async perform(real: Real): Promise<void> {
    const grant = grantOf(real.policy, this.level);
    const key = await real.state.keys.allocate(grant, requestId(), { ...newKey, svn: this.svn });
    // I4: no KeyID comes twice.
    expect(real.keyIds.map(toHex)).not.toContain(toHex(key.keyId));
    real.keyIds.push(key.keyId);
    real.marks.push({ floor: key.svn, retired: key.svn });
    remember(real, key);
  }

  override toString = () => `allocate(level ${this.level}, svn ${this.svn})`;
}

export class Reallocate extends KeyOperation {
  readonly audited = 'key_alloc';
  readonly step: number;
  svn = 1;

  constructor(index: number, level: number, step: number) {
    super(index, level);
    this.step = step;
  }

  expected(model: Model): Answer {
    const floor = floorOf(model, this.key(model));
    this.svn = Math.max(1, floor + this.step);
    if (this.level < floor) return 'SVN_BELOW_FLOOR';
    if (this.svn < floor) return 'SVN_NOT_INCREASING';
    return this.svn > this.level ? 'SVN_ABOVE_LEVEL' : 'accepted';
  }

  apply(model: Model): void {
    this.key(model).floor = this.svn;
  }

  async perform(real: Real): Promise<void> {
    const ask = { ...newKey, keyId: this.keyId(real), svn: this.svn };
    remember(real, await real.state.keys.allocate(this.grant(real), requestId(), ask));
  }

  override toString = () => `reallocate(${this.index}, level ${this.level}, svn ${this.svn})`;
}

export class Acquire extends KeyOperation {
  readonly audited = 'key_acquire';
  readonly svn: number | undefined;

  constructor(index: number, level: number, svn: number | undefined) {
    super(index, level);
    this.svn = svn;
  }

  expected(model: Model): Answer {
    const key = this.key(model);
    const floor = floorOf(model, key);
    if (this.level < floor) return 'SVN_BELOW_FLOOR';
    const svn = this.svn ?? floor;
    if (svn < key.retired) return 'KEY_RETIRED';
    return svn > this.level ? 'SVN_ABOVE_LEVEL' : 'accepted';
  }

  apply(): void {}

  async perform(real: Real): Promise<void> {
    const ask = { keyId: this.keyId(real), svn: this.svn, reason: 'boot' } as const;
    const key = await real.state.keys.acquire(this.grant(real), requestId(), ask);
    // I3, and what the answer says of itself.
    expect(key.svn).toBe(this.svn ?? key.svnFloor);
    expect(key.svnRetired <= key.svn && key.svn <= this.level).toBe(true);
    expect(key.svnFloor).toBeLessThanOrEqual(this.level);
    remember(real, key);
  }

  override toString = () => `acquire(${this.index}, level ${this.level}, svn ${this.svn})`;
}

export class Update extends KeyOperation {
  readonly audited = 'key_update';
  readonly step: number;
  readonly retireBelow: number | undefined;
  target = 1;

  constructor(index: number, level: number, step: number, retireBelow: number | undefined) {
    super(index, level);
    this.step = step;
    this.retireBelow = retireBelow;
  }

  expected(model: Model): Answer {
    const key = this.key(model);
    const floor = floorOf(model, key);
    this.target = Math.max(1, floor + this.step);
    if (!key.active) return 'KEY_STATE';
    if (this.level < floor) return 'SVN_BELOW_FLOOR';
    if (this.target < floor) return 'SVN_NOT_INCREASING';
    if (this.target > this.level) return 'SVN_ABOVE_LEVEL';
    return (this.retireBelow ?? 0) > this.target ? 'INVALID_FIELD' : 'accepted';
  }

  apply(model: Model): void {
    const key = this.key(model);
    key.floor = this.target;
    key.retired = Math.max(key.retired, this.retireBelow ?? 0);
  }

  async perform(real: Real): Promise<void> {
    await real.state.keys.update(this.grant(real), requestId(), {
      keyId: this.keyId(real),
      targetSvn: this.target,
      expectedFloor: undefined,
      retireBelow: this.retireBelow,
    });
  }

  override toString = () =>
    `update(${this.index}, level ${this.level}, ${this.target}, retire ${this.retireBelow})`;
}

export class Confirm extends KeyOperation {
  // Refused, it is the KeyAcquire before it that is.
  readonly audited = undefined;

  expected(model: Model): Answer {
    return this.level < floorOf(model, this.key(model)) ? 'SVN_BELOW_FLOOR' : 'accepted';
  }

  apply(model: Model): void {
    this.key(model).active = true;
  }

  async perform(real: Real): Promise<void> {
    const [keyId, grant] = [this.keyId(real), this.grant(real)];
    const ask = { keyId, svn: undefined, reason: 'boot' } as const;
    const { svn, kcv } = await real.state.keys.acquire(grant, requestId(), ask);
    await real.state.keys.confirm(grant, requestId(), { keyId, svn, kcv });
  }

  override toString = () => `confirm(${this.index}, level ${this.level})`;
}

export class RaisePolicy extends Operation {
  readonly audited = 'set_key_policy';
  readonly step: number;
  floor = 1;

  constructor(step: number) {
    super();
    this.step = step;
  }

  expected({ policyFloor }: Model): Answer {
    this.floor = Math.max(1, Math.min(levelCount, policyFloor + this.step));
    return this.floor < policyFloor ? 'POLICY_NOT_TIGHTER' : 'accepted';
  }

  apply(model: Model): void {
    model.policyFloor = this.floor;
    model.policyVersion++;
  }

  async perform(real: Real): Promise<void> {
    real.policy = await nextPolicy(real.state, {
      svnFloor: this.floor,
      levels: levels(levelCount),
    });
  }

  override toString = () => `raisePolicy(${this.floor})`;
}

export class Restart extends Operation {
  readonly audited = undefined;

  expected(): Answer {
    return 'accepted';
  }

  apply(): void {}

  async perform(real: Real): Promise<void> {
    await real.state.close();
    real.state = await openPlace(real.place);
    real.policy = await real.state.policies.get('acme', 'web', 0);
  }

  override toString = () => 'restart()';
}

/** I6: one (key, SVN), one Security Key, for ever. */
function remember(real: Real, key: { keyId: Uint8Array; svn: number; securityKey: Uint8Array }) {
  const name = `${toHex(key.keyId)} ${key.svn}`;
  const seen = real.securityKeys.get(name) ?? toHex(key.securityKey);
  expect(toHex(key.securityKey)).toBe(seen);
  real.securityKeys.set(name, seen);
}

async function invariants(model: Model, real: Real): Promise<void> {
  const { policy } = await real.state.policies.get('acme', 'web', 0);
  expect(policy).toMatchObject({ version: model.policyVersion, svnFloor: model.policyFloor });
  for (const [i, keyId] of real.keyIds.entries()) {
    const info = await real.state.keys.get('acme', keyId);
    const key = model.keys[i]!;
    expect(info).toMatchObject({
      svnFloor: floorOf(model, key),
      svnRetired: key.retired,
      state: key.active ? 'active' : 'pre-active',
    });
    // I1 and I2.
    const before = real.marks[i]!;
    expect(info.svnFloor).toBeGreaterThanOrEqual(before.floor);
    expect(info.svnRetired).toBeGreaterThanOrEqual(before.retired);
    expect(info.svnRetired).toBeLessThanOrEqual(info.svnFloor);
    real.marks[i] = { floor: info.svnFloor, retired: info.svnRetired };
  }
  // Different SVNs and different keys never share a Security Key.
  expect(new Set(real.securityKeys.values()).size).toBe(real.securityKeys.size);
}
