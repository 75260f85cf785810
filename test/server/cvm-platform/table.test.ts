import { describe, expect, test } from 'vitest';
import {
  type CvmState,
  cvmStates,
  type Operation,
  observations,
  operations,
  outcome,
  transition,
} from '#server/cvm-platform/lifecycle/table.js';
import { refusalOf } from '../../refusal.js';

/** The whole table, written once more by hand: during -> done, 'already', or forbidden. */
const expected: Record<CvmState, Record<Operation, string>> = {
  defined: {
    start: 'starting -> running',
    stop: 'forbidden',
    update: 'defined -> defined',
    delete: 'deleting -> deleted',
  },
  starting: { start: 'forbidden', stop: 'forbidden', update: 'forbidden', delete: 'forbidden' },
  running: {
    start: 'already',
    stop: 'stopping -> stopped',
    update: 'forbidden',
    delete: 'forbidden',
  },
  stopping: { start: 'forbidden', stop: 'forbidden', update: 'forbidden', delete: 'forbidden' },
  stopped: {
    start: 'starting -> running',
    stop: 'already',
    update: 'stopped -> stopped',
    delete: 'deleting -> deleted',
  },
  failed: {
    start: 'starting -> running',
    stop: 'stopping -> stopped',
    update: 'failed -> defined',
    delete: 'deleting -> deleted',
  },
  deleting: { start: 'forbidden', stop: 'forbidden', update: 'forbidden', delete: 'forbidden' },
};

const pairs = cvmStates.flatMap((state) =>
  operations.map((operation) => ({ state, operation, leads: expected[state][operation] })),
);

describe('lifecycle table: every state with every operation', () => {
  test.each(pairs)('$operation while $state: $leads', async ({ state, operation, leads }) => {
    const refusal = await refusalOf(() => transition(state, operation));
    if (leads === 'forbidden') {
      expect(refusal).toBe('CVM_STATE');
      return;
    }
    const step = transition(state, operation);
    expect(step === undefined ? 'already' : `${step.during} -> ${step.done}`).toBe(leads);
    if (step !== undefined) expect(outcome(step.during, operation)).toBe(step.done);
  });

  test('an operation cannot be finished from a state that it never leads through', () => {
    expect(() => outcome('running', 'start')).toThrow(TypeError);
  });

  test('what the host sees changes only states in which nothing is under way', () => {
    expect(observations).toEqual({
      defined: { running: 'running', absent: 'failed' },
      running: { off: 'stopped', crashed: 'failed', absent: 'failed' },
      stopped: { running: 'running', absent: 'failed' },
      failed: { running: 'running' },
    });
  });
});
