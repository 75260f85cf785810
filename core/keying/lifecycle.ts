import { CvmpError, type ErrorCode } from '../errors.js';
import type { KeyState } from './key-record.js';

/** What may be asked of an existing key: by agents, by its tenant, and by the agenda. */
export type KeyOperation =
  | 'reallocate'
  | 'acquire'
  | 'confirm'
  | 'update'
  | 'suspend'
  | 'resume'
  | 'take over'
  | 'mark compromised'
  | 'rotate'
  | 'retire epochs'
  | 'destroy'
  | 'cancel destroy'
  | 'fall due';

/** A state goes on to a state, or the operation is refused with a code. */
type Transition = KeyState | ErrorCode;

const nothing = (code: ErrorCode): Record<KeyOperation, Transition> => ({
  reallocate: code,
  acquire: code,
  confirm: code,
  update: code,
  suspend: code,
  resume: code,
  'take over': code,
  'mark compromised': code,
  rotate: code,
  'retire epochs': code,
  destroy: code,
  'cancel destroy': code,
  'fall due': code,
});

/**
 * The key state machine (protocol.md s.6.9; SP 800-57 part 1 s.7). DESTROYED is terminal. Nothing is
 * released and nothing moves while a destruction is pending; cancelled, it leaves the key suspended.
 */
export const keyLifecycle: Record<KeyState, Record<KeyOperation, Transition>> = {
  'pre-active': {
    ...nothing('KEY_STATE'),
    reallocate: 'pre-active',
    acquire: 'pre-active',
    confirm: 'active',
    'take over': 'pre-active',
    'mark compromised': 'pre-active',
    destroy: 'destroy-pending',
  },
  active: {
    ...nothing('KEY_STATE'),
    reallocate: 'active',
    acquire: 'active',
    confirm: 'active',
    update: 'active',
    suspend: 'suspended',
    'take over': 'active',
    'mark compromised': 'active',
    rotate: 'active',
    'retire epochs': 'active',
    destroy: 'destroy-pending',
  },
  suspended: {
    ...nothing('KEY_SUSPENDED'),
    suspend: 'suspended',
    resume: 'active',
    'take over': 'suspended',
    'mark compromised': 'suspended',
    destroy: 'destroy-pending',
    'cancel destroy': 'KEY_STATE',
    'fall due': 'KEY_STATE',
  },
  'destroy-pending': {
    ...nothing('KEY_DESTROY_PENDING'),
    'mark compromised': 'destroy-pending',
    'cancel destroy': 'suspended',
    'fall due': 'destroyed',
  },
  destroyed: nothing('KEY_DESTROYED'),
};

/**
 * The state after `operation`.
 * @throws CvmpError KEY_STATE, KEY_SUSPENDED, KEY_DESTROY_PENDING, KEY_DESTROYED
 */
export function nextState(state: KeyState, operation: KeyOperation): KeyState {
  const next = keyLifecycle[state][operation];
  if (isState(next)) return next;
  throw new CvmpError(next, `a key that is ${state} does not ${operation}`);
}

function isState(transition: Transition): transition is KeyState {
  return Object.hasOwn(keyLifecycle, transition);
}
