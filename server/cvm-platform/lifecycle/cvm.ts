import type { CvmDefinition, LaunchPlan } from '../driver/driver.js';
import type { CvmState, Operation } from './table.js';

/** How a CVM is launched and what was granted, by digests: paths are looked up when the host is told. */
export type LaunchSpec = Omit<CvmDefinition, 'cvmId' | 'image'> & {
  readonly imageDigest: Uint8Array;
  /** SHA-256 of the tenant's own firmware, in place of the image's. */
  readonly firmwareDigest?: Uint8Array;
};

/** What a CVM is made of; an update puts another one under it. */
export interface Launch {
  readonly spec: LaunchSpec;
  readonly plan: LaunchPlan;
}

/**
 * An operation that was journalled and has not ended. After a crash it is finished, or, where it is
 * `create` and cannot be, undone.
 */
export interface Pending {
  readonly operation: 'create' | Operation;
  /** `stop`: without asking the guest. */
  readonly force: boolean;
  /** `update`: what to put under the CVM. */
  readonly launch?: Launch;
}

/** A CVM as the platform remembers it. */
export interface Cvm {
  readonly cvmId: string;
  readonly tenantId: string;
  /** Unique among the tenant's. */
  readonly name: string;
  readonly state: CvmState;
  /** Why, where `state` is `failed`; otherwise empty. */
  readonly message: string;
  readonly launch: Launch;
  /** Request that created it, 16 bytes. */
  readonly requestId: Uint8Array;
  /** Milliseconds since the epoch. */
  readonly createdMs: number;
  /** Counts starts, from 1; 0 before the first. */
  readonly bootCount: number;
  readonly pending?: Pending;
}

/** A request that created CVMs, kept so that its repetition gives the same answer. */
export interface CreateRequestRecord {
  readonly tenantId: string;
  readonly requestId: Uint8Array;
  /** SHA-256 of the request's content. */
  readonly digest: Uint8Array;
  /** In the order of the answer. */
  readonly cvmIds: readonly string[];
  readonly createdMs: number;
}
