import { describe, expect, test } from 'vitest';
import type { HostDriver } from '#server/cvm-platform/driver/driver.js';
import type { Lifecycle } from '#server/cvm-platform/lifecycle/lifecycle.js';
import type { Store } from '#server/cvm-platform/store/store.js';
import { imageOf } from './definitions.js';
import { launchOf, Machine, wanted } from './lifecycle-harness.js';

/** The platform's process died: nothing that it still tries has any effect. */
class Died extends Error {}

/** Lets a platform die just before or just after its n-th step on store or host. */
class Fate {
  steps = 0;
  #dead = false;
  readonly #at: number;
  readonly #after: boolean;

  constructor(at: number, after: boolean) {
    this.#at = at;
    this.#after = after;
  }

  wrap = (store: Store, driver: HostDriver): { store: Store; driver: HostDriver } => {
    const step = async <T>(work: () => Promise<T>): Promise<T> => {
      const last = this.steps++ === this.#at;
      if (this.#dead || (last && !this.#after)) {
        this.#dead = true;
        throw new Died();
      }
      const result = await work();
      if (last) this.#dead = true;
      if (this.#dead) throw new Died();
      return result;
    };
    return {
      store: { load: () => store.load(), commit: (change) => step(() => store.commit(change)) },
      driver: Object.assign(Object.create(driver) as HostDriver, {
        define: (definition: Parameters<HostDriver['define']>[0]) =>
          step(() => driver.define(definition)),
        start: (id: string) => step(() => driver.start(id)),
        shutdown: (id: string, graceMs: number) => step(() => driver.shutdown(id, graceMs)),
        destroy: (id: string) => step(() => driver.destroy(id)),
        undefine: (id: string) => step(() => driver.undefine(id)),
        plan: (d: Parameters<HostDriver['plan']>[0]) => driver.plan(d),
        inspect: (id: string) => driver.inspect(id),
        watch: (listener: (id: string) => void) => driver.watch(listener),
        capabilities: () => driver.capabilities(),
      }),
    };
  };
}

interface Scenario {
  readonly name: string;
  /** Before the platform that dies. */
  readonly prepare: (lifecycle: Lifecycle) => Promise<unknown>;
  readonly run: (lifecycle: Lifecycle) => Promise<unknown>;
  /** States of the CVMs after the next start, each admissible outcome. */
  readonly outcomes: readonly string[];
}

const create = (lifecycle: Lifecycle) => lifecycle.creation.create(wanted({ count: 2 }));
const first = (lifecycle: Lifecycle) => lifecycle.registry.find('acme', 'web-1').cvmId;

const scenarios: readonly Scenario[] = [
  { name: 'create', prepare: async () => {}, run: create, outcomes: ['', 'defined defined'] },
  {
    name: 'start',
    prepare: create,
    run: (l) => l.operations.run(first(l), 'start'),
    outcomes: ['defined defined', 'running defined'],
  },
  {
    name: 'stop',
    prepare: async (l) => {
      await create(l);
      await l.operations.run(first(l), 'start');
    },
    run: (l) => l.operations.run(first(l), 'stop'),
    outcomes: ['running defined', 'stopped defined'],
  },
  {
    name: 'update',
    prepare: create,
    run: (l) => l.operations.run(first(l), 'update', { launch: launchOf(imageOf(2)) }),
    outcomes: ['defined defined'],
  },
  {
    name: 'delete',
    prepare: create,
    run: (l) => l.operations.run(first(l), 'delete'),
    outcomes: ['defined defined', 'defined'],
  },
];

/** The platform dies at step `at` of the scenario; gives what the next one finds. */
async function dieAndRestart(scenario: Scenario, at: number, after: boolean) {
  const machine = new Machine();
  const before = await machine.start();
  await scenario.prepare(before);
  await before.close();
  const fate = new Fate(at, after);
  const doomed = await machine.start(fate.wrap);
  const died = await scenario.run(doomed).then(
    () => false,
    () => true,
  );
  return { machine, died, steps: fate.steps, next: await machine.start() };
}

describe('the platform dies at every point of every operation (architecture.md s.6)', () => {
  test.each(scenarios)('$name is finished or undone by the next start', async (scenario) => {
    const { steps } = await dieAndRestart(scenario, Number.POSITIVE_INFINITY, false);
    expect(steps).toBeGreaterThan(1);
    const found = new Set<string>();
    for (let at = 0; at < steps; at++) {
      for (const after of [false, true]) {
        const { machine, died, next } = await dieAndRestart(scenario, at, after);
        expect(died).toBe(true);
        const cvms = next.registry.all();
        expect(cvms.filter((cvm) => cvm.pending !== undefined)).toEqual([]);
        const states = next.registry.ofTenant('acme').map((cvm) => cvm.state);
        expect(scenario.outcomes).toContain(states.join(' '));
        found.add(states.join(' '));
        // The host knows exactly the CVMs that the platform knows, in the same condition.
        expect([...machine.host.cvms.keys()].sort()).toEqual(cvms.map((c) => c.cvmId).sort());
        for (const { cvmId, state, launch } of cvms) {
          const { definition, state: seen } = machine.host.cvms.get(cvmId)!;
          expect(seen.run === 'running').toBe(state === 'running');
          expect(definition.image.imageDigest).toEqual(launch.spec.imageDigest);
        }
        // The tenant, who got no answer, asks again.
        if (scenario.name === 'create') expect(await create(next)).toHaveLength(2);
      }
    }
    expect([...found].sort()).toEqual([...scenario.outcomes].sort());
  });

  test('a start that the dead platform had journalled is counted once', async () => {
    const scenario = scenarios.find((s) => s.name === 'start')!;
    const { next } = await dieAndRestart(scenario, 2, true);
    expect(next.registry.find('acme', 'web-1')).toMatchObject({ state: 'running', bootCount: 1 });
  });
});
