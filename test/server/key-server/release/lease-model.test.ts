import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KeyServerState, SessionGrant } from '#server/key-server/release/contract.js';
import { refusalOf } from '../../../refusal.js';
import { canary } from '../../../run-folder.js';
import {
  call,
  grantOf,
  levels,
  newKey,
  newPlace,
  nextPolicy,
  openPlace,
  type Place,
  requestId,
  withTenant,
} from '../state.js';

const leaseMs = 100_000;
const instances = [1, 2, 3].map((n) => new Uint8Array(32).fill(n));
/** What the evidence of each instance proves, where the policy has so many levels. */
const proven = [4, 2, 3];

/** What may happen, in any order. */
const anyStep = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('acquire' as const), who: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('race' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('attest' as const), who: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(80_000) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('policy' as const),
      floor: fc.nat(1),
      single: fc.boolean(),
      reattest: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('order' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('take over' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
);
type Step = typeof anyStep extends fc.Arbitrary<infer S> ? S : never;

/** The rules in words: floor, orders, leases; protocol.md s.6.4, s.6.5. */
class Model {
  floor = 1;
  single = true;
  orders = 0;
  now = 0;
  lease: { who: number; until: number } | undefined;
  /** When each session was attested: end of its lease, orders given before. */
  readonly sessions = instances.map(() => ({ until: leaseMs, orders: 0 }));

  /** What asking for the key gives, and what it changes. */
  ask(who: number): string {
    const session = this.sessions[who]!;
    if (session.orders < this.orders || this.now >= session.until) return 'REATTEST_REQUIRED';
    if (proven[who]! < this.floor) return 'SVN_BELOW_FLOOR';
    if (!this.single) return 'accepted';
    const { lease } = this;
    const isHolder = lease?.who === who;
    if (lease !== undefined && (isHolder ? lease.until === 0 : this.now < lease.until)) {
      return 'INSTANCE_CONFLICT';
    }
    this.lease = { who, until: Math.max(session.until, isHolder ? lease.until : 0) };
    return 'accepted';
  }
}

/** The same on a real store. */
class Real {
  readonly place: Place;
  state: KeyServerState;
  readonly begin: number;
  grants: SessionGrant[] = [];
  keyId: Uint8Array = new Uint8Array();

  private constructor(place: Place, state: KeyServerState) {
    this.place = place;
    this.state = state;
    this.begin = place.now;
  }

  static async start(): Promise<Real> {
    const place = await newPlace('lease-model', canary);
    const real = new Real(place, await openPlace(place));
    const keyRules = { singleInstance: true, leaseSeconds: leaseMs / 1000 };
    await withTenant(real.state, 'acme', { keyRules });
    for (const who of instances.keys()) await real.attest(who);
    const { keyId } = await real.state.keys.allocate(real.grants[0]!, requestId(), newKey);
    real.keyId = keyId;
    return real;
  }

  async attest(who: number): Promise<void> {
    const policy = await this.state.policies.get('acme', 'web', 0);
    this.grants[who] = grantOf(policy, proven[who]!, {
      instanceId: instances[who]!,
      leaseExpires: this.place.now + leaseMs,
    });
  }

  async ask(who: number): Promise<string> {
    const asked = { keyId: this.keyId, svn: undefined, epoch: undefined, reason: 'boot' } as const;
    const answer = this.state.keys.acquire(this.grants[who]!, requestId(), asked);
    return refusalOf(answer.then(({ securityKey }) => canary(securityKey)));
  }
}

async function run(step: Step, model: Model, real: Real): Promise<void> {
  const { state, place } = real;
  switch (step.do) {
    case 'acquire':
      expect(await real.ask(step.who)).toBe(model.ask(step.who));
      break;
    case 'race': {
      // Decided in the order of the calls, whatever the disk does.
      const answers = await Promise.all([0, 1, 2].map((who) => real.ask(who)));
      expect(answers).toEqual([0, 1, 2].map((who) => model.ask(who)));
      break;
    }
    case 'attest':
      await real.attest(step.who);
      model.sessions[step.who] = { until: model.now + leaseMs, orders: model.orders };
      break;
    case 'wait':
      place.now += step.ms;
      model.now += step.ms;
      break;
    case 'policy': {
      const { single, reattest } = step;
      model.floor = Math.min(4, model.floor + step.floor);
      model.single = single;
      model.orders += reattest ? 1 : 0;
      const keyRules = { singleInstance: single, leaseSeconds: leaseMs / 1000 };
      await nextPolicy(state, { svnFloor: model.floor, levels: levels(4), keyRules, reattest });
      break;
    }
    case 'order':
      model.orders += 1;
      await state.policies.requireReattestation('acme', 'web', call);
      break;
    case 'take over': {
      const id = requestId();
      const order = { tenantId: 'acme', keyId: real.keyId, requestId: id, call };
      await state.keyAdmin.takeOver({ ...order, expectedRevision: undefined });
      if (model.lease !== undefined) model.lease = { ...model.lease, until: 0 };
      break;
    }
    case 'restart':
      await state.close();
      real.state = await openPlace(place);
      break;
  }
}

describe('floors, orders to attest again, leases and policies, in any order (protocol.md s.6.4, s.6.5)', () => {
  it('three instances get the key exactly when the rules say so, over restarts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 10, maxLength: 40 }), async (steps) => {
        const real = await Real.start();
        const model = new Model();
        // The allocation leased it to the first one.
        model.lease = { who: 0, until: leaseMs };
        try {
          for (const step of steps) await run(step, model, real);
        } finally {
          await real.state.close();
        }
      }),
      { numRuns: 25 },
    );
  });
});
