import { encode } from '../cbor/encode.js';
import { decodeMap, type MapReader } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import { purposeNumbers } from './derivation.js';
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

/** Numbers of KeyState in proto/cvmp/v1/key_admin.proto. */
const stateNumbers: Record<KeyState, number> = {
  'pre-active': 1,
  active: 2,
  suspended: 3,
  destroyed: 4,
};

/** Deterministic CBOR, a closed map. */
export function encodeKeyRecord(record: KeyRecord): Uint8Array {
  return encode(
    new Map<number, CborValue>([
      [1, record.keyId],
      [2, record.tenantId],
      [3, record.policyId],
      [4, record.cvmName],
      [5, purposeNumbers[record.purpose]],
      [6, record.length],
      [7, record.appContext],
      [8, record.epoch],
      [9, record.wrappedRootKey],
      [10, record.svnFloor],
      [11, record.svnRetired],
      [12, stateNumbers[record.state]],
      [13, record.created],
      [14, record.released],
    ]),
  );
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function decodeKeyRecord(bytes: Uint8Array): KeyRecord {
  return decodeMap(bytes, 'key', (m) => {
    const svnFloor = m.integer(10, 'svn_floor', svnRange);
    return {
      keyId: m.bytes(1, 'key_id', { length: 16 }),
      tenantId: m.text(2, 'tenant_id', { min: 1, max: 63 }),
      policyId: m.text(3, 'policy_id', { min: 1, max: 63 }),
      cvmName: m.text(4, 'cvm_name', { min: 1, max: 63 }),
      purpose: named(m, 5, 'purpose', purposeNumbers),
      length: m.integer(6, 'length', { min: 16, max: 64 }),
      appContext: m.bytes(7, 'app_context', { max: 64 }),
      epoch: m.integer(8, 'epoch', { min: 1 }),
      wrappedRootKey: m.bytes(9, 'wrapped_root_key', { max: 128 }),
      svnFloor,
      svnRetired: m.integer(11, 'svn_retired', { ...svnRange, max: svnFloor }),
      state: named(m, 12, 'state', stateNumbers),
      created: m.integer(13, 'created'),
      released: m.integer(14, 'released'),
    };
  });
}

/** SVNs are numbers of levels. */
const svnRange = { min: 1, max: 64 };

function named<Name extends string>(
  m: MapReader,
  key: number,
  name: string,
  numbers: Record<Name, number>,
): Name {
  const number = m.integer(key, name);
  const found = (Object.keys(numbers) as Name[]).find((candidate) => numbers[candidate] === number);
  if (found === undefined) {
    const field = m.path(name);
    throw new CvmpError('MALFORMED', `${field} is ${number}`, { field });
  }
  return found;
}
