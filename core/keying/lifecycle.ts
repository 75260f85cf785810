import { CvmpError, type ErrorCode } from '../errors.js';
import type { KeyState } from './key-record.js';

/** What may be asked of an existing key. */
export type KeyOperation =
  | 'reallocate'
  | 'acquire'
  | 'confirm'
  | 'update'
  | 'suspend'
  | 'resume'
  | 'destroy';

/** A state goes on to a state, or the operation is refused with a code. */
type Transition = KeyState | ErrorCode;

/** The key state machine (protocol.md s.6.9; SP 800-57 part 1 s.7). DESTROYED is terminal. */
export const keyLifecycle: Record<KeyState, Record<KeyOperation, Transition>> = {
  'pre-active': {
    reallocate: 'pre-active',
    acquire: 'pre-active',
    confirm: 'active',
    update: 'KEY_STATE',
    suspend: 'KEY_STATE',
    resume: 'KEY_STATE',
    destroy: 'destroyed',
  },
  active: {
    reallocate: 'active',
    acquire: 'active',
    confirm: 'active',
    update: 'active',
    suspend: 'suspended',
    resume: 'KEY_STATE',
    destroy: 'destroyed',
  },
  suspended: {
    reallocate: 'KEY_SUSPENDED',
    acquire: 'KEY_SUSPENDED',
    confirm: 'KEY_SUSPENDED',
    update: 'KEY_SUSPENDED',
    suspend: 'suspended',
    resume: 'active',
    destroy: 'destroyed',
  },
  destroyed: {
    reallocate: 'KEY_DESTROYED',
    acquire: 'KEY_DESTROYED',
    confirm: 'KEY_DESTROYED',
    update: 'KEY_DESTROYED',
    suspend: 'KEY_DESTROYED',
    resume: 'KEY_DESTROYED',
    destroy: 'destroyed',
  },
};

/**
 * The state after `operation`.
 * @throws CvmpError KEY_STATE, KEY_SUSPENDED, KEY_DESTROYED
 */
export function nextState(state: KeyState, operation: KeyOperation): KeyState {
  const next = keyLifecycle[state][operation];
  if (isState(next)) return next;
  throw new CvmpError(next, `a key that is ${state} does not ${operation}`);
}

function isState(transition: Transition): transition is KeyState {
  return Object.hasOwn(keyLifecycle, transition);
}
