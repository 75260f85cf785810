import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import type { KeyServerState, ReleasedKey } from '#server/key-server/release/contract.js';
import { refusalOf } from '../../../refusal.js';
import { MemoryPlace } from '../memory-place.js';
import { grantOf, newKey, requestId, withTenant } from '../state.js';
import * as life from './life-model.js';
import { destructionOrder, orderOn } from './orders.js';

interface Real {
  readonly place: MemoryPlace;
  state: KeyServerState;
  readonly keyIds: Uint8Array[];
  /** Security Keys seen, by key, epoch and SVN. */
  readonly seen: Map<string, string>;
}

type Command = fc.AsyncCommand<life.Model, Real>;

const grant = async ({ state }: Real) =>
  grantOf(await state.policies.get('acme', 'web', 0), life.level);

/** I6: one (key, epoch, SVN), one Security Key, for ever. */
function remember({ seen }: Real, { keyId, epoch, svn, securityKey }: ReleasedKey): void {
  const name = `${toHex(keyId)} ${epoch} ${svn}`;
  expect(toHex(securityKey)).toBe(seen.get(name) ?? toHex(securityKey));
  seen.set(name, toHex(securityKey));
}

/** What the tenant sees is what the model says. */
async function hold(model: life.Model, { state, keyIds }: Real): Promise<void> {
  for (const [i, key] of model.keys.entries()) {
    const info = await state.keys.get('acme', keyIds[i]!);
    expect({ ...info, epochs: info.epochs.map((e) => [e.epoch, e.confirmed > 0]) }).toMatchObject({
      state: key.state,
      svnFloor: key.floor,
      svnRetired: key.retired,
      epoch: key.epoch,
      epochs: [...key.roots],
      compromisedEpoch: key.compromised,
      revision: key.revision,
    });
  }
}

class Allocate implements Command {
  check = (model: Readonly<life.Model>) => model.keys.length < 4;

  async run(model: life.Model, real: Real): Promise<void> {
    const key = await real.state.keys.allocate(await grant(real), requestId(), newKey);
    // I4: no KeyID comes twice, not even a destroyed one's.
    expect(real.keyIds.map(toHex)).not.toContain(toHex(key.keyId));
    real.keyIds.push(key.keyId);
    remember(real, key);
    model.keys.push(life.newKeyModel());
    await hold(model, real);
  }

  toString = () => 'allocate()';
}

type Perform = (real: Real, keyId: Uint8Array, key: life.ModelKey) => Promise<unknown>;

/** A step of the model, and how it is done in earnest. */
class OnKey implements Command {
  readonly #index: number;
  readonly #name: string;
  readonly #step: (key: life.ModelKey) => life.Step;
  readonly #perform: Perform;

  constructor(
    index: number,
    name: string,
    step: (key: life.ModelKey) => life.Step,
    perform: Perform,
  ) {
    this.#index = index;
    this.#name = name;
    this.#step = step;
    this.#perform = perform;
  }

  check = (model: Readonly<life.Model>) => model.keys.length > 0;

  async run(model: life.Model, real: Real): Promise<void> {
    const i = this.#index % model.keys.length;
    const key = model.keys[i]!;
    const step = this.#step(key);
    const expected = step.answer(key, model.now);
    const answer = await refusalOf(this.#perform(real, real.keyIds[i]!, key));
    expect(`${this}: ${answer}`).toBe(`${this}: ${expected}`);
    // I5: the decision was durable before it was answered.
    const { items } = await real.state.audit.list('acme', { pageSize: 1, pageToken: '' });
    const code = expected === 'accepted' ? undefined : expected;
    expect([items[0]?.operation, items[0]?.code]).toEqual([step.operation, code]);
    if (expected === 'accepted') step.apply(key, model.now);
    await hold(model, real);
  }

  toString = () => `${this.#name}(${this.#index})`;
}

class Pass implements Command {
  readonly #ms: number;

  constructor(ms: number) {
    this.#ms = ms;
  }

  check = () => true;

  async run(model: life.Model, real: Real): Promise<void> {
    life.pass(model, this.#ms);
    real.place.now = model.now;
    await real.state.keyAdmin.runDue();
    await hold(model, real);
  }

  toString = () => `pass(${this.#ms})`;
}

class Restart implements Command {
  readonly #inOrder: boolean;

  constructor(inOrder: boolean) {
    this.#inOrder = inOrder;
  }

  check = () => true;

  async run(model: life.Model, real: Real): Promise<void> {
    if (this.#inOrder) await real.state.close();
    real.state = await real.place.open();
    await hold(model, real);
  }

  toString = () => (this.#inOrder ? 'restart()' : 'crash()');
}

const ask = async (real: Real, keyId: Uint8Array, epoch: number, svn: number) => {
  const request = { keyId, svn, epoch, reason: 'boot' } as const;
  const key = await real.state.keys.acquire(await grant(real), requestId(), request);
  remember(real, key);
  return key;
};

/** Mostly the same key, so that it comes far in its life. */
const index = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat({ max: 3 }));
const epoch = fc.integer({ min: 1, max: 5 });
const svn = fc.integer({ min: 1, max: life.level });

const acquire = fc.tuple(index, epoch, svn).map(
  ([i, e, s]) =>
    new OnKey(
      i,
      `acquire ${e} ${s}`,
      () => life.acquire(e, s),
      (real, id) => ask(real, id, e, s),
    ),
);

const confirm = fc.tuple(index, fc.nat({ max: 3 }), epoch).map(([i, seldom, e]) => {
  const of = (key: life.ModelKey) => (seldom > 0 ? key.epoch : e);
  const perform: Perform = async (real, keyId, key) => {
    const at = { keyId, svn: key.floor, epoch: of(key) };
    const isServed = life.confirm(at.epoch).answer(key, 0) === 'accepted';
    const kcv = isServed ? (await ask(real, keyId, at.epoch, at.svn)).kcv : new Uint8Array(8);
    await real.state.keys.confirm(await grant(real), requestId(), { ...at, kcv });
  };
  return new OnKey(i, 'confirm', (key) => life.confirm(of(key)), perform);
});

const update = fc
  .tuple(index, fc.nat({ max: 1 }), fc.boolean(), fc.nat({ max: 5 }))
  .map(([i, raise, retire, epochs]) => {
    const perform: Perform = async (real, keyId, { floor }) => {
      const targetSvn = floor + raise;
      await real.state.keys.update(await grant(real), requestId(), {
        keyId,
        targetSvn,
        expectedFloor: undefined,
        retireBelow: retire ? targetSvn : undefined,
        retireEpochsBelow: epochs || undefined,
      });
    };
    return new OnKey(i, 'update', () => life.update(raise, retire, epochs), perform);
  });

const simple = (name: string, step: life.Step, perform: Perform) =>
  index.map((i) => new OnKey(i, name, () => step, perform));

const reallocate = simple('reallocate', life.reallocate, async (real, keyId) => {
  const request = { ...newKey, keyId };
  remember(real, await real.state.keys.allocate(await grant(real), requestId(), request));
});
const suspend = simple('suspend', life.suspend, (r, id) => r.state.keyAdmin.suspend(orderOn(id)));
const resume = simple('resume', life.resume, (r, id) => r.state.keyAdmin.resume(orderOn(id)));
const mark = simple('mark', life.mark, (r, id) => r.state.keyAdmin.markCompromised(orderOn(id)));
const cancel = simple('cancel', life.cancel, (r, id) =>
  r.state.keyAdmin.cancelDestroy(orderOn(id)),
);
const order = simple('order', life.order, async ({ state }, id, { revision }) =>
  state.keyAdmin.destroy('acme', await destructionOrder(id, revision), orderOn(id).call),
);
const rotate = fc.tuple(index, fc.boolean()).map(([i, agentsRetireEpochs]) => {
  const perform: Perform = (real, id) =>
    real.state.keyAdmin.rotate({ ...orderOn(id), agentsRetireEpochs });
  return new OnKey(i, 'rotate', () => life.rotate(agentsRetireEpochs), perform);
});
const retire = fc.tuple(index, epoch).map(([i, below]) => {
  const perform: Perform = (real, id) =>
    real.state.keyAdmin.retireEpochs({ ...orderOn(id), below });
  return new OnKey(i, `retire ${below}`, () => life.retireEpochs(below), perform);
});

const often = <T>(times: number, one: T): T[] => Array<T>(times).fill(one);
const operations: fc.Arbitrary<Command>[] = [
  fc.constant(new Allocate()),
  ...often(3, acquire),
  ...often(7, confirm),
  ...often(2, update),
  ...often(8, rotate),
  reallocate,
  suspend,
  ...often(3, resume),
  mark,
  retire,
  order,
  ...often(2, cancel),
  fc.constantFrom(1000, life.delayMs / 2, life.delayMs).map((ms) => new Pass(ms)),
  fc.boolean().map((inOrder) => new Restart(inOrder)),
];

describe('any sequence of what agents and tenants do keeps I1 to I6 (protocol.md s.6.9)', () => {
  it('over every state and many epochs, with restarts and crashes in between', async () => {
    const ready = await MemoryPlace.make();
    const first = await ready.open();
    await withTenant(first, 'acme', { destroyDelaySeconds: life.delayMs / 1000 });
    await first.close();
    const sequences = fc.commands(operations, { maxCommands: 80, size: 'max' });
    await fc.assert(
      fc.asyncProperty(sequences, async (commands) => {
        const place = ready.copy();
        const state = await place.open();
        const real: Real = { place, state, keyIds: [], seen: new Map() };
        const model: life.Model = { keys: [], now: place.now };
        await fc.asyncModelRun(() => ({ model, real }), commands);
        // Different keys, epochs and SVNs never share a Security Key.
        expect(new Set(real.seen.values()).size).toBe(real.seen.size);
        await real.state.close();
      }),
      { numRuns: 40 },
    );
  });
});
