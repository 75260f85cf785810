import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asInteger } from '#core/cbor/read.js';

/**
 * How many keys of a policy have which floor, destroyed ones not counted: the quota, and what a
 * raise of the policy's floor would do, without reading a single key. Item i counts floor i + 1.
 */
export type KeyCounts = readonly number[];

const levelsMax = 64;

export const noKeys: KeyCounts = new Array<number>(levelsMax).fill(0);

export function countsKey(tenantId: string, policyId: string): string {
  return `policy-keys/${tenantId}/${policyId}`;
}

export const keyCountsCodec = {
  encode: (counts: KeyCounts) => encode(counts),
  decode: (bytes: Uint8Array): KeyCounts =>
    asArray(decode(bytes), 'key_counts', { length: levelsMax }).map((n) =>
      asInteger(n, 'key_counts'),
    ),
};

/** All keys. */
export function total(counts: KeyCounts): number {
  return counts.reduce((sum, n) => sum + n, 0);
}

/** One key more. */
export function withKey(counts: KeyCounts, svnFloor: number): KeyCounts {
  return counts.map((n, i) => (i === svnFloor - 1 ? n + 1 : n));
}

/** One key less: it is destroyed. */
export function withoutKey(counts: KeyCounts, svnFloor: number): KeyCounts {
  return counts.map((n, i) => (i === svnFloor - 1 ? Math.max(0, n - 1) : n));
}

/** One key's floor has risen. */
export function withRaise(counts: KeyCounts, from: number, to: number): KeyCounts {
  const without = counts.map((n, i) => (i === from - 1 ? n - 1 : n));
  return withKey(without, to);
}

/** The policy's floor rises: every key below it is at it now. */
export function raisedTo(
  counts: KeyCounts,
  svnFloor: number,
): { readonly counts: KeyCounts; readonly raised: number } {
  const raised = total(counts.slice(0, svnFloor - 1));
  const next = counts.map((n, i) => (i < svnFloor - 1 ? 0 : n));
  next[svnFloor - 1]! += raised;
  return { counts: next, raised };
}

/** Keys of a tenant that are not destroyed, of the counts that are in memory. */
export function countedKeys(
  counts: { peek(key: string): { readonly value: KeyCounts } | undefined },
  tenantId: string,
  { current }: { readonly current: ReadonlyMap<string, unknown> },
): number {
  const held = [...current.keys()].map((policyId) => counts.peek(countsKey(tenantId, policyId)));
  return held.reduce((sum, one) => sum + (one === undefined ? 0 : total(one.value)), 0);
}
