import { CvmpError } from '#core/errors.js';
import type { HostState } from '../driver/driver.js';

/** Lifecycle states of a CVM, as in CvmState of proto/cvmp/v1/platform.proto. */
export const cvmStates = [
  'defined',
  'starting',
  'running',
  'stopping',
  'stopped',
  'failed',
  'deleting',
] as const;
export type CvmState = (typeof cvmStates)[number];

export const operations = ['start', 'stop', 'update', 'delete'] as const;
/** What a tenant may ask of an existing CVM. */
export type Operation = (typeof operations)[number];

/** `during` is journalled before the host is asked, `done` when the host has done it. */
export interface Transition {
  readonly during: CvmState;
  readonly done: CvmState | 'deleted';
}

const launch: Transition = { during: 'starting', done: 'running' };
const halt: Transition = { during: 'stopping', done: 'stopped' };
const erase: Transition = { during: 'deleting', done: 'deleted' };

/** Already in the wanted state: the operation succeeds at once, so that it may be repeated. */
const already = 'already';

/**
 * state x operation; what is not in the table is forbidden (CVM_STATE). A failed CVM may be in any
 * condition on the host, so everything that makes it definite is allowed.
 */
export const transitions: Readonly<
  Record<CvmState, Partial<Record<Operation, Transition | typeof already>>>
> = {
  defined: { start: launch, update: { during: 'defined', done: 'defined' }, delete: erase },
  starting: {},
  running: { start: already, stop: halt },
  stopping: {},
  stopped: {
    start: launch,
    stop: already,
    update: { during: 'stopped', done: 'stopped' },
    delete: erase,
  },
  failed: {
    start: launch,
    stop: halt,
    update: { during: 'failed', done: 'defined' },
    delete: erase,
  },
  deleting: {},
};

/**
 * The transition that `operation` means in `state`; undefined where there is nothing to do.
 * @throws CvmpError CVM_STATE where the pair is forbidden
 */
export function transition(state: CvmState, operation: Operation): Transition | undefined {
  const entry = transitions[state][operation];
  if (entry === undefined) {
    throw new CvmpError('CVM_STATE', `${operation} is not possible while the CVM is ${state}`);
  }
  return entry === already ? undefined : entry;
}

/** Where an operation that was journalled in the state `during` leads. */
export function outcome(during: CvmState, operation: Operation): Transition['done'] {
  for (const row of Object.values(transitions)) {
    const entry = row[operation];
    if (typeof entry === 'object' && entry.during === during) return entry.done;
  }
  throw new TypeError(`no ${operation} leads through ${during}`);
}

/**
 * state x what the host sees: the state that follows. What is not in the table changes nothing.
 * The states on the way (starting, stopping, deleting) have no row: their operation decides.
 */
export const observations: Readonly<
  Partial<Record<CvmState, Partial<Record<HostState['run'], CvmState>>>>
> = {
  defined: { running: 'running', absent: 'failed' },
  running: { off: 'stopped', crashed: 'failed', absent: 'failed' },
  stopped: { running: 'running', absent: 'failed' },
  failed: { running: 'running' },
};
