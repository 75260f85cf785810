import { encode } from '../cbor/encode.js';
import { asArray, asBytes, asInteger, decodeMap, type MapReader } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import { purposeNumbers } from './derivation.js';
import type { InstanceLease } from './instance-lease.js';
import type { KeyPurpose } from './policy.js';

/** States of a key (protocol.md s.6.9; SP 800-57 part 1 s.7). */
export type KeyState = 'pre-active' | 'active' | 'suspended' | 'destroy-pending' | 'destroyed';

/** One generation of a key's root key, while it is served. Times are milliseconds. */
export interface RootEpoch {
  /** From 1; enters the derivation. */
  readonly epoch: number;
  /** The root key, wrapped. */
  readonly wrapped: Uint8Array;
  readonly created: number;
  /** When an agent first confirmed a Security Key of it; 0 before. */
  readonly confirmed: number;
}

/** A destruction that is ordered and not due yet. */
export interface PendingDestruction {
  readonly requested: number;
  readonly due: number;
  /** SHA-256 of the signed order. */
  readonly orderDigest: Uint8Array;
  /** Position in the log of the record that it is done; undefined before, and after a crash. */
  readonly logIndex?: number | undefined;
}

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
  /** Newest generation of the root key, from 1. */
  readonly epoch: number;
  /** Root keys still served, oldest first, the newest last; empty once destroyed. */
  readonly roots: readonly RootEpoch[];
  /** Highest floor ever set; only rises. */
  readonly svnFloor: number;
  /** Lowest SVN still served; only rises, at most `svnFloor`. */
  readonly svnRetired: number;
  readonly state: KeyState;
  /** Counts what the tenant did to it and its activation, from 1: who changes it names what he saw. */
  readonly revision: number;
  readonly created: number;
  /** First confirmation; 0 before. */
  readonly activated: number;
  /** Since when it is in its state. */
  readonly stateSince: number;
  /** Last release of a Security Key, exact to the minute; 0 before the first. */
  readonly released: number;
  /** Epochs up to this one are marked compromised; 0: none. */
  readonly compromisedEpoch: number;
  /** When the last such mark was set; 0: never. */
  readonly compromisedSince: number;
  /** Agents that moved their disk to the newest epoch retire the older ones. */
  readonly agentsRetireEpochs: boolean;
  readonly destruction: PendingDestruction | undefined;
  /** Which instance has it, where one at a time may; undefined: none had it yet. */
  readonly lease: InstanceLease | undefined;
}

type Allocated = Pick<
  KeyRecord,
  'keyId' | 'tenantId' | 'policyId' | 'cvmName' | 'purpose' | 'length' | 'appContext'
>;

/** A key as it begins: pre-active, with its first root key (`wrapped`). */
export function newKeyRecord(
  {
    keyId,
    tenantId,
    policyId,
    cvmName,
    purpose,
    length,
    appContext,
    wrapped,
  }: Allocated & Pick<RootEpoch, 'wrapped'>,
  { svnFloor, svnRetired }: Pick<KeyRecord, 'svnFloor' | 'svnRetired'>,
  now: number,
): KeyRecord {
  return {
    keyId,
    tenantId,
    policyId,
    cvmName,
    purpose,
    length,
    appContext,
    epoch: 1,
    roots: [{ epoch: 1, wrapped, created: now, confirmed: 0 }],
    svnFloor,
    svnRetired,
    state: 'pre-active',
    revision: 1,
    created: now,
    activated: 0,
    stateSince: now,
    released: now,
    compromisedEpoch: 0,
    compromisedSince: 0,
    agentsRetireEpochs: false,
    destruction: undefined,
    lease: undefined,
  };
}

/** Root keys that a key may have at once: the newest and what is not retired yet. */
export const rootsMax = 4;

/** Numbers of KeyState in proto/cvmp/v1/key_admin.proto. */
const stateNumbers: Record<KeyState, number> = {
  'pre-active': 1,
  active: 2,
  suspended: 3,
  destroyed: 4,
  'destroy-pending': 5,
};

/** Deterministic CBOR, a closed map. */
export function encodeKeyRecord(record: KeyRecord): Uint8Array {
  const { destruction, lease } = record;
  const map = new Map<number, CborValue>([
    [1, record.keyId],
    [2, record.tenantId],
    [3, record.policyId],
    [4, record.cvmName],
    [5, purposeNumbers[record.purpose]],
    [6, record.length],
    [7, record.appContext],
    [8, record.epoch],
    [9, record.roots.map((r) => [r.epoch, r.wrapped, r.created, r.confirmed])],
    [10, record.svnFloor],
    [11, record.svnRetired],
    [12, stateNumbers[record.state]],
    [13, record.created],
    [14, record.released],
    [15, record.revision],
    [16, record.activated],
    [17, record.stateSince],
    [18, record.compromisedEpoch],
    [19, record.compromisedSince],
    [20, record.agentsRetireEpochs],
  ]);
  if (lease !== undefined) {
    const entries: [number, CborValue][] = [
      [1, lease.instanceId],
      [2, lease.until],
    ];
    map.set(22, new Map(entries));
  }
  if (destruction !== undefined) {
    const { requested, due, orderDigest, logIndex } = destruction;
    const entries: [number, CborValue][] = [
      [1, requested],
      [2, due],
      [3, orderDigest],
    ];
    if (logIndex !== undefined) entries.push([4, logIndex]);
    map.set(21, new Map(entries));
  }
  return encode(map);
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
      roots: m.array(9, 'roots', { max: rootsMax }, readRoot),
      svnFloor,
      svnRetired: m.integer(11, 'svn_retired', { ...svnRange, max: svnFloor }),
      state: named(m, 12, 'state', stateNumbers),
      created: m.integer(13, 'created'),
      released: m.integer(14, 'released'),
      revision: m.integer(15, 'revision', { min: 1 }),
      activated: m.integer(16, 'activated'),
      stateSince: m.integer(17, 'state_since'),
      compromisedEpoch: m.integer(18, 'compromised_epoch'),
      compromisedSince: m.integer(19, 'compromised_since'),
      agentsRetireEpochs: m.boolean(20, 'agents_retire_epochs'),
      destruction: m.optional(21, () => m.map(21, 'destruction', readDestruction)),
      lease: m.optional(22, () => m.map(22, 'lease', readLease)),
    };
  });
}

/** SVNs are numbers of levels. */
const svnRange = { min: 1, max: 64 };

function readRoot(item: CborValue, field: string): RootEpoch {
  const [epoch, wrapped, created, confirmed] = asArray(item, field, { length: 4 });
  return {
    epoch: asInteger(epoch, `${field}.epoch`, { min: 1 }),
    wrapped: asBytes(wrapped, `${field}.wrapped`, { max: 128 }),
    created: asInteger(created, `${field}.created`),
    confirmed: asInteger(confirmed, `${field}.confirmed`),
  };
}

function readLease(m: MapReader): InstanceLease {
  return {
    instanceId: m.bytes(1, 'instance_id', { length: 32 }),
    until: m.integer(2, 'until'),
  };
}

function readDestruction(m: MapReader): PendingDestruction {
  const logIndex = m.optional(4, () => m.integer(4, 'log_index', { min: 1 }));
  return {
    requested: m.integer(1, 'requested'),
    due: m.integer(2, 'due'),
    orderDigest: m.bytes(3, 'order_digest', { length: 32 }),
    ...(logIndex === undefined ? {} : { logIndex }),
  };
}

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
