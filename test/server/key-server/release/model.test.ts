import fc from 'fast-check';
import { describe, it } from 'vitest';
import { levels, newPlace, openPlace, withTenant } from '../state.js';
import {
  Acquire,
  Allocate,
  Confirm,
  levelCount,
  type Model,
  RaisePolicy,
  type Real,
  Reallocate,
  Restart,
  Update,
} from './model.js';

const svn = fc.integer({ min: 1, max: levelCount });
/** Most agents are up to date. */
const level = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: levelCount - 2, max: levelCount }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: levelCount }) },
);
const index = fc.nat({ max: 3 });
const perhaps = fc.option(svn, { nil: undefined });
/** From the floor that there is. */
const step = fc.integer({ min: -1, max: 2 });

const allocate = fc.tuple(level, perhaps).map(([l, s]) => new Allocate(l, s));
const reallocate = fc.tuple(index, level, step).map(([i, l, s]) => new Reallocate(i, l, s));
const acquire = fc.tuple(index, level, perhaps).map(([i, l, s]) => new Acquire(i, l, s));
const update = fc
  .tuple(index, level, step, fc.option(svn, { nil: undefined, freq: 1 }))
  .map(([i, l, s, r]) => new Update(i, l, s, r));
const confirm = fc.tuple(index, level).map(([i, l]) => new Confirm(i, l));
const raisePolicy = fc.integer({ min: -1, max: 1 }).map((s) => new RaisePolicy(s));

const operations: fc.Arbitrary<fc.AsyncCommand<Model, Real>>[] = [
  allocate,
  allocate,
  reallocate,
  acquire,
  acquire,
  acquire,
  confirm,
  confirm,
  update,
  update,
  update,
  raisePolicy,
  fc.constant(new Restart()),
];

describe('any sequence of operations keeps I1 to I6 (protocol.md s.6.9)', () => {
  it('on LevelDB, with restarts in between', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.commands(operations, { maxCommands: 60, size: 'max' }),
        async (commands) => {
          const place = await newPlace('model');
          const state = await openPlace(place);
          const policy = await withTenant(state, 'acme', { levels: levels(levelCount) });
          const securityKeys = new Map<string, string>();
          const real: Real = { place, state, policy, keyIds: [], securityKeys, marks: [] };
          const model = { keys: [], policyFloor: 1, policyVersion: 1 };
          try {
            await fc.asyncModelRun(() => ({ model, real }), commands);
          } finally {
            await real.state.close();
          }
        },
      ),
      { numRuns: 16 },
    );
  });
});
