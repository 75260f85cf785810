import type { KeyRecord, RootEpoch } from '#core/keying/key-record.js';
import type { KeyingPolicy, SvnLevel } from '#core/keying/policy.js';
import type { LevelRules } from '#core/rats/level-rules.js';

/** A made-up evidence format whose only rule is a least number; undefined says nothing. */
export interface MadeRule {
  readonly min?: number;
}

const joined = (rules: readonly MadeRule[]) => Math.max(0, ...rules.map((r) => r.min ?? 0));

export const madeRules: LevelRules<MadeRule> = {
  decreasing: (lower, higher) =>
    higher.min !== undefined && higher.min < (lower.min ?? 0) ? 'min' : undefined,
  relaxed: (previous, next) => (joined(next) < joined(previous) ? 'min' : undefined),
};

export const madeFormats = new Map([['made', madeRules as LevelRules<unknown>]]);

export function madeLevels(...minima: readonly MadeRule[]): SvnLevel[] {
  return minima.map((rule, i) => ({ n: i + 1, name: '', formats: new Map([['made', rule]]) }));
}

/** A policy of version 1 with four levels and floor 1. */
export function madePolicy(changes: Partial<KeyingPolicy> = {}): KeyingPolicy {
  return {
    tenantId: 'acme',
    policyId: 'web',
    version: 1,
    prevDigest: undefined,
    notBefore: undefined,
    notAfter: undefined,
    cvmNames: ['web-*'],
    appraisal: {
      allowSimulated: true,
      channelBinding: 'required',
      formats: new Map([['made', {}]]),
    },
    levels: madeLevels({ min: 1 }, { min: 2 }, { min: 3 }, { min: 4 }),
    svnFloor: 1,
    keyRules: {
      purposes: ['disk'],
      keysMax: 1000,
      tenantOnlyRaises: false,
      leaseSeconds: 86_400,
      singleInstance: false,
    },
    reattest: false,
    quorums: { setPolicy: undefined, destroyKey: undefined },
    destroyDelaySeconds: 604_800,
    ...changes,
  };
}

/** A root key in use. */
export function madeRoot(epoch: number, changes: Partial<RootEpoch> = {}): RootEpoch {
  const time = 1_700_000_000_000 + epoch;
  const wrapped = new Uint8Array(60).fill(epoch);
  return { epoch, wrapped, created: time, confirmed: time, ...changes };
}

/** An active key with floor 2, serving from 1. */
export function madeRecord(changes: Partial<KeyRecord> = {}): KeyRecord {
  return {
    keyId: new Uint8Array(16).fill(7),
    tenantId: 'acme',
    policyId: 'web',
    cvmName: 'web-1',
    purpose: 'disk',
    length: 32,
    appContext: new Uint8Array(),
    epoch: 1,
    roots: [madeRoot(1)],
    svnFloor: 2,
    svnRetired: 1,
    state: 'active',
    revision: 1,
    created: 1_700_000_000_000,
    activated: 1_700_000_000_000,
    stateSince: 1_700_000_000_000,
    released: 0,
    compromisedEpoch: 0,
    compromisedSince: 0,
    agentsRetireEpochs: false,
    destruction: undefined,
    lease: undefined,
    ...changes,
  };
}
