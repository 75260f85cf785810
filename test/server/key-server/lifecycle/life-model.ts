import type { ErrorCode } from '#core/errors.js';
import type { AuditOperation } from '#server/key-server/release/contract.js';

// The life of keys (protocol.md s.6.9) told once more, without looking at core/keying: what each
// operation answers, and what is so then. Every agent proves level 4.

export const level = 4;
export const delayMs = 60_000;

export type Answer = ErrorCode | 'accepted';

export interface ModelKey {
  state: 'pre-active' | 'active' | 'suspended' | 'destroy-pending' | 'destroyed';
  floor: number;
  retired: number;
  /** Newest ever. */
  epoch: number;
  /** Those that are served, with whether an agent confirmed them. */
  readonly roots: Map<number, boolean>;
  compromised: number;
  wasActive: boolean;
  agentsRetire: boolean;
  revision: number;
  due: number;
}

export interface Model {
  readonly keys: ModelKey[];
  now: number;
}

export function newKeyModel(): ModelKey {
  return {
    state: 'pre-active',
    floor: 1,
    retired: 1,
    epoch: 1,
    roots: new Map([[1, false]]),
    compromised: 0,
    wasActive: false,
    agentsRetire: false,
    revision: 1,
    due: 0,
  };
}

/** Why a key that is none of `admitted` refuses; undefined where it is one of them. */
function inHold(key: ModelKey, ...admitted: ModelKey['state'][]): ErrorCode | undefined {
  if (admitted.includes(key.state)) return undefined;
  const codes = {
    'pre-active': 'KEY_STATE',
    active: 'KEY_STATE',
    suspended: 'KEY_SUSPENDED',
    'destroy-pending': 'KEY_DESTROY_PENDING',
    destroyed: 'KEY_DESTROYED',
  } as const;
  return codes[key.state];
}

/** An operation on one key: its answer, and what it changes where that is `accepted`. */
export interface Step {
  readonly operation: AuditOperation;
  readonly answer: (key: ModelKey, now: number) => Answer;
  readonly apply: (key: ModelKey, now: number) => void;
}

const lowest = ({ roots }: ModelKey) => Math.min(...roots.keys());

function moved(key: ModelKey, change: Partial<ModelKey>): void {
  Object.assign(key, change);
  key.revision += 1;
}

function served(key: ModelKey, epoch: number, svn: number): Answer {
  const held = inHold(key, 'pre-active', 'active');
  if (held !== undefined) return held;
  if (epoch > key.epoch) return 'NOT_FOUND';
  return !key.roots.has(epoch) || svn < key.retired ? 'KEY_RETIRED' : 'accepted';
}

export const acquire = (epoch: number, svn: number): Step => ({
  operation: 'key_acquire',
  answer: (key) => served(key, epoch, svn),
  apply: () => {},
});

export const reallocate: Step = {
  operation: 'key_alloc',
  answer: (key) => {
    const held = inHold(key, 'pre-active', 'active');
    return held ?? (key.compromised >= key.epoch ? 'KEY_COMPROMISED' : 'accepted');
  },
  apply: () => {},
};

export const confirm = (epoch: number): Step => ({
  operation: 'key_confirm',
  answer: (key) => served(key, epoch, key.floor),
  apply: (key) => {
    if (key.state === 'pre-active') moved(key, { state: 'active', wasActive: true });
    key.roots.set(epoch, true);
  },
});

/** KeyUpdate: the floor rises by `raise`; older SVNs and epochs may be retired with it. */
export const update = (raise: number, retire: boolean, retireEpochs: number): Step => ({
  operation: 'key_update',
  answer: (key) => {
    const held = inHold(key, 'active');
    if (held !== undefined) return held;
    if (key.floor + raise > level) return 'SVN_ABOVE_LEVEL';
    if (!key.agentsRetire || retireEpochs <= lowest(key)) return 'accepted';
    if (retireEpochs > key.epoch) return 'NOT_FOUND';
    return key.roots.get(retireEpochs) === true ? 'accepted' : 'KEY_STATE';
  },
  apply: (key) => {
    key.floor += raise;
    if (retire) key.retired = key.floor;
    if (key.agentsRetire) drop(key, retireEpochs);
  },
});

function drop(key: ModelKey, below: number): void {
  for (const epoch of key.roots.keys()) if (epoch < below) key.roots.delete(epoch);
}

export const suspend: Step = {
  operation: 'key_suspend',
  answer: (key) => inHold(key, 'active', 'suspended') ?? 'accepted',
  apply: (key) => {
    if (key.state === 'active') moved(key, { state: 'suspended' });
  },
};

export const resume: Step = {
  operation: 'key_resume',
  answer: (key) => inHold(key, 'suspended') ?? 'accepted',
  apply: (key) => moved(key, { state: 'active' }),
};

export const mark: Step = {
  operation: 'key_mark_compromised',
  answer: (key) => (key.state === 'destroyed' ? 'KEY_DESTROYED' : 'accepted'),
  apply: (key) => {
    if (key.compromised < key.epoch) moved(key, { compromised: key.epoch });
  },
};

export const rotate = (agentsRetire: boolean): Step => ({
  operation: 'key_rotate',
  answer: (key) => {
    const held = inHold(key, 'active');
    if (held !== undefined) return held;
    if (key.roots.get(key.epoch) === false && key.compromised < key.epoch) return 'KEY_STATE';
    return key.roots.size >= 4 ? 'QUOTA' : 'accepted';
  },
  apply: (key) => {
    moved(key, { epoch: key.epoch + 1, agentsRetire });
    key.roots.set(key.epoch, false);
  },
});

export const retireEpochs = (below: number): Step => ({
  operation: 'key_retire_epochs',
  answer: (key) => {
    const held = inHold(key, 'active');
    if (held !== undefined) return held;
    if (below > key.epoch) return 'INVALID_FIELD';
    if (below <= lowest(key)) return 'accepted';
    const inUse = [...key.roots].some(([epoch, confirmed]) => epoch >= below && confirmed);
    return inUse ? 'accepted' : 'KEY_STATE';
  },
  apply: (key) => {
    if (below > lowest(key)) moved(key, {});
    drop(key, below);
  },
});

export const order: Step = {
  operation: 'key_order_destroy',
  answer: (key) => inHold(key, 'pre-active', 'active', 'suspended') ?? 'accepted',
  apply: (key, now) => moved(key, { state: 'destroy-pending', due: now + delayMs }),
};

export const cancel: Step = {
  operation: 'key_cancel_destroy',
  answer: (key) => {
    const held = inHold(key, 'destroy-pending');
    return held === 'KEY_SUSPENDED' ? 'KEY_STATE' : (held ?? 'accepted');
  },
  apply: (key) => moved(key, { state: key.wasActive ? 'suspended' : 'pre-active', due: 0 }),
};

/** Time passes. */
export function pass(model: Model, ms: number): void {
  model.now += ms;
  for (const key of model.keys) {
    if (key.state !== 'destroy-pending' || key.due > model.now) continue;
    moved(key, { state: 'destroyed' });
    key.roots.clear();
  }
}
