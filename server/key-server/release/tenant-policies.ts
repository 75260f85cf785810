import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, asInteger, asText } from '#core/cbor/read.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import { bestCoverage, coverage } from '#core/keying/selector.js';
import { schemes } from '#core/schemes.js';
import { policiesMax } from '../tenants/quotas.js';
import type { StoredPolicy } from './contract.js';
import type { Held } from './records.js';

/** Which version of each policy of a tenant is in force, in the order of their ids. */
export type PolicyIndex = readonly {
  readonly policyId: string;
  readonly version: number;
  /** SHA-256 of the signed policy. */
  readonly digest: Uint8Array;
  /** Rises with each order that sessions under it attest again. */
  readonly generation: number;
  /** Bytes of all its signed versions. */
  readonly bytes: number;
}[];

export const policyIndexCodec = {
  encode: (index: PolicyIndex) =>
    encode(index.map((row) => [row.policyId, row.version, row.digest, row.generation, row.bytes])),
  decode: (bytes: Uint8Array): PolicyIndex =>
    asArray(decode(bytes), 'policies', { max: policiesMax }).map((item) => {
      const [policyId, version, digest, generation, bytes] = asArray(item, 'policies', {
        length: 5,
      });
      return {
        policyId: asText(policyId, 'policies.policy_id'),
        version: asInteger(version, 'policies.version', { min: 1 }),
        digest: asBytes(digest, 'policies.digest', { length: 32 }),
        generation: asInteger(generation, 'policies.generation'),
        bytes: asInteger(bytes, 'policies.bytes'),
      };
    }),
};

const coveredMax = 10_000;

/** The policies of a tenant that are in force; a new version makes a new value. */
export class TenantPolicies {
  readonly index: Held<PolicyIndex>;
  /** By id. */
  readonly current: ReadonlyMap<string, StoredPolicy>;
  readonly #covered = new Map<string, StoredPolicy | undefined>();

  constructor(index: Held<PolicyIndex>, current: ReadonlyMap<string, StoredPolicy>) {
    this.index = index;
    this.current = current;
  }

  /** The policy with the longest match; undefined where none covers this CVM. */
  covering(cvmName: string): StoredPolicy | undefined {
    if (this.#covered.has(cvmName)) return this.#covered.get(cvmName);
    const policies = [...this.current.values()].map(({ policy }) => policy);
    const best = bestCoverage(policies, cvmName);
    const found = best === undefined ? undefined : this.current.get(best.policyId);
    if (this.#covered.size >= coveredMax) this.#covered.clear();
    this.#covered.set(cvmName, found);
    return found;
  }

  /** Bytes of all signed versions of all of them. */
  get storedBytes(): number {
    return this.index.value.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Policies other than this one. */
  others(policyId: string): readonly KeyingPolicy[] {
    return [...this.current.values()].map((p) => p.policy).filter((p) => p.policyId !== policyId);
  }

  /** All of them in the order of their ids, with another version of one. */
  currentWith(next: StoredPolicy): ReadonlyMap<string, StoredPolicy> {
    const { policyId } = next.policy;
    const rest = [...this.current].filter(([id]) => id !== policyId);
    const entries = [...rest, [policyId, next] as const];
    return new Map(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** The index with another version of a policy, in the order of their ids. */
  indexWith(next: PolicyIndex[number]): PolicyIndex {
    const rest = this.index.value.filter(({ policyId }) => policyId !== next.policyId);
    return [...rest, next].sort((a, b) => (a.policyId < b.policyId ? -1 : 1));
  }
}

/** Sentences for a careful tenant. */
export function warningsFor(
  policy: KeyingPolicy,
  others: readonly KeyingPolicy[],
  keysRaised: number,
  now: number,
): string[] {
  const warnings: string[] = [];
  if (policy.appraisal.formats.size === 0) {
    warnings.push('The policy admits no evidence format: nothing is released under it.');
  }
  if (policy.appraisal.allowSimulated) {
    warnings.push('The policy admits simulated hardware, which protects nothing: for tests only.');
  }
  warnings.push(...formatWarnings(policy));
  if (keysRaised > 0) {
    const keys = keysRaised === 1 ? 'one existing key' : `${keysRaised} existing keys`;
    warnings.push(`Agents below level ${policy.svnFloor} lose ${keys}.`);
  }
  if (policy.notAfter !== undefined && policy.notAfter <= now) {
    warnings.push('The policy is no longer valid: nothing is released under it.');
  }
  for (const other of others.filter((o) => takesFrom(policy, o))) {
    const what = `The policy covers CVMs that ${other.policyId} covered; their keys stay with that.`;
    warnings.push(what);
  }
  return warnings;
}

/** What is known of the rules of each format; the same sentence once. */
function formatWarnings({ appraisal, levels }: KeyingPolicy): readonly string[] {
  const all = schemes.flatMap(({ format, warnings }) => {
    const rules = appraisal.formats.get(format);
    const ofFormat = levels.flatMap((level) => level.formats.get(format) ?? []);
    return rules === undefined ? [] : (warnings?.(rules, ofFormat) ?? []);
  });
  return [...new Set(all)];
}

/** Whether a name that `other` covers is now covered better by `policy`. */
export function takesFrom(policy: KeyingPolicy, other: KeyingPolicy): boolean {
  return policy.cvmNames.some((pattern) => {
    const least = pattern.replace(/\*$/, '');
    return other.cvmNames.some(
      (wider) => wider !== pattern && coverage(wider, least) !== undefined,
    );
  });
}
