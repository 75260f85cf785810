import type { KeyPurpose } from './policy.js';

/** States of a key (protocol.md s.6.9; SP 800-57 part 1 s.7). */
export type KeyState = 'pre-active' | 'active' | 'suspended' | 'destroyed';

/** What the Key Server keeps of a key. Times are milliseconds since the epoch. */
export interface KeyRecord {
  /** 16 bytes. */
  readonly keyId: Uint8Array;
  readonly tenantId: string;
  /** Policy under which it was allocated; its levels number the SVNs of this key. */
  readonly policyId: string;
  /** CVM that allocated it. */
  readonly cvmName: string;
  readonly purpose: KeyPurpose;
  /** Bytes of the Security Key, 16 to 64. */
  readonly length: number;
  /** At most 64 bytes. */
  readonly appContext: Uint8Array;
  /** Generation of the root key, from 1. */
  readonly epoch: number;
  /** The root key, wrapped; empty once destroyed. */
  readonly wrappedRootKey: Uint8Array;
  /** Highest floor ever set; only rises. */
  readonly svnFloor: number;
  /** Lowest SVN still served; only rises, at most `svnFloor`. */
  readonly svnRetired: number;
  readonly state: KeyState;
  readonly created: number;
  /** Last release of a Security Key, exact to the minute; 0 before the first. */
  readonly released: number;
}
