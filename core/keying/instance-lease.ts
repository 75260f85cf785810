import { equalBytes, toHex } from '../bytes.js';
import { CvmpError } from '../errors.js';
import type { KeyRecord } from './key-record.js';
import type { KeyRules } from './policy.js';

/** Which running instance of a CVM has a key that only one may have (protocol.md s.6.4). */
export interface InstanceLease {
  /** REPORT_ID, or the thumbprint of the agent's instance key; 32 bytes. */
  readonly instanceId: Uint8Array;
  /** Milliseconds since the epoch; 0: the tenant took the key from this instance. */
  readonly until: number;
}

/** The instance that asks, and how long its attestation is good for. */
export interface AskingInstance {
  readonly instanceId: Uint8Array | undefined;
  /** Milliseconds since the epoch. */
  readonly leaseExpires: number;
}

/**
 * The key as it is once this instance has it: leased to it until its attestation ends, where the
 * policy lets one instance have it at a time. Stops a copy of a CVM beside the first: a fork.
 * @returns the same record where nothing changes
 * @throws CvmpError INSTANCE_CONFLICT, POLICY_REFUSED where the evidence names no instance
 */
export function leasedTo(
  record: KeyRecord,
  { singleInstance }: Pick<KeyRules, 'singleInstance'>,
  { instanceId, leaseExpires }: AskingInstance,
  now: number,
): KeyRecord {
  if (!singleInstance) return record;
  if (instanceId === undefined) {
    throw new CvmpError('POLICY_REFUSED', 'the evidence names no instance, and one may have keys');
  }
  const { lease } = record;
  if (lease === undefined) return { ...record, lease: { instanceId, until: leaseExpires } };
  const isHolder = equalBytes(lease.instanceId, instanceId);
  if (isHolder ? lease.until === 0 : now < lease.until) throw conflict(lease);
  if (isHolder && lease.until >= leaseExpires) return record;
  return { ...record, lease: { instanceId, until: leaseExpires } };
}

function conflict({ instanceId, until }: InstanceLease): CvmpError {
  const holder = toHex(instanceId);
  const what =
    until === 0
      ? `the tenant took the key from instance ${holder}`
      : `instance ${holder} has the key until ${new Date(until).toISOString()}`;
  return new CvmpError('INSTANCE_CONFLICT', what, { field: 'key_id' });
}
