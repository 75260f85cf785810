import { concat, equalBytes, utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { asMap, asText, decodeMap, type MapReader } from '#core/cbor/read.js';
import type { CborKey, CborMap, CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { LaunchPlan, SnpLaunch, Tee } from '../driver/driver.js';
import type { CreateRequestRecord, Cvm, Launch, LaunchSpec, Pending } from '../lifecycle/cvm.js';
import { cvmStates, operations } from '../lifecycle/table.js';

// Records are deterministic CBOR maps. Keys are never given another meaning; what is added later is
// optional. LevelDB returns flipped bits silently, so each record carries a digest over its
// database key and content: a damaged or moved record is noticed.

const digestLength = 32;
const tees: readonly Tee[] = ['sev-snp', 'tdx', 'vtpm'];
const pendingOperations = ['create', ...operations] as const;

/** The stored form of a record under its database key. */
export function sealRecord(key: string, content: CborMap): Uint8Array {
  const bytes = encode(content);
  return concat(crypto.hash('sha256', utf8(key), bytes), bytes);
}

/** @throws CvmpError STORE_CORRUPT */
export function openRecord<T>(key: string, stored: Uint8Array, read: (map: MapReader) => T): T {
  const bytes = stored.subarray(digestLength);
  const digest = crypto.hash('sha256', utf8(key), bytes);
  if (!equalBytes(digest, stored.subarray(0, digestLength))) {
    throw new CvmpError('STORE_CORRUPT', `the record ${key} is damaged`);
  }
  try {
    return decodeMap(bytes, key, read);
  } catch (cause) {
    throw new CvmpError('STORE_CORRUPT', `the record ${key} is of an unknown form`, { cause });
  }
}

/** Drops what is undefined. */
function closed(entries: readonly (readonly [CborKey, CborValue | undefined])[]): CborMap {
  return new Map(entries.filter((e): e is [CborKey, CborValue] => e[1] !== undefined));
}

function oneOf<T extends string>(text: string, allowed: readonly T[]): T {
  const found = allowed.find((a) => a === text);
  if (found === undefined) throw new CvmpError('MALFORMED', `${text} is not known`);
  return found;
}

function snpMap(snp: SnpLaunch): CborMap {
  return closed([
    [1, snp.guestPolicy],
    [2, snp.id?.block],
    [3, snp.id?.auth],
  ]);
}

function readSnp(map: MapReader): SnpLaunch {
  const guestPolicy = map.uint64(1, 'guest_policy');
  if (!map.has(2)) return { guestPolicy };
  const block = map.bytes(2, 'id_block', { length: 96 });
  return { guestPolicy, id: { block, auth: map.bytes(3, 'id_auth', { length: 4096 }) } };
}

/** How a CVM is launched, as a map. */
export function specMap(spec: LaunchSpec): CborMap {
  return closed([
    [1, spec.tee],
    [2, spec.vcpus],
    [3, spec.memoryMib],
    [4, spec.vcpuType],
    [5, spec.imageDigest],
    [6, spec.firmwareDigest],
    [7, snpMap(spec.snp)],
    [8, spec.configDocument],
    [9, spec.keyServerAddress],
    [10, spec.keyId],
    [11, spec.diskMib],
    [12, spec.secureBoot],
    [13, spec.liveMigration],
    [14, spec.bios],
    [15, spec.svn],
  ]);
}

/** Reads what {@link specMap} wrote. @throws CvmpError MALFORMED, SIZE */
export function readSpec(map: MapReader): LaunchSpec {
  const firmwareDigest = map.optional(6, () => map.bytes(6, 'firmware_digest', { length: 32 }));
  const keyId = map.optional(10, () => map.bytes(10, 'key_id', { length: 16 }));
  return {
    tee: oneOf(map.text(1, 'tee'), tees),
    vcpus: map.integer(2, 'vcpus'),
    memoryMib: map.integer(3, 'memory_mib'),
    vcpuType: map.text(4, 'vcpu_type'),
    imageDigest: map.bytes(5, 'image_digest', { length: 32 }),
    ...(firmwareDigest && { firmwareDigest }),
    snp: map.map(7, 'snp', readSnp),
    configDocument: map.bytes(8, 'config_document'),
    keyServerAddress: map.text(9, 'key_server_address'),
    ...(keyId && { keyId }),
    diskMib: map.integer(11, 'disk_mib'),
    secureBoot: map.boolean(12, 'secure_boot'),
    liveMigration: map.boolean(13, 'live_migration'),
    bios: readBios(map.value(14, 'bios')),
    svn: map.integer(15, 'svn'),
  };
}

function readBios(value: CborValue): ReadonlyMap<string, string> {
  const entries = [...asMap(value, 'bios')];
  return new Map(entries.map(([name, setting]) => [String(name), asText(setting, 'bios')]));
}

function planMap(plan: LaunchPlan): CborMap {
  return closed([
    [1, plan.imageDigest],
    [2, plan.firmwareDigest],
    [3, plan.kernelDigest],
    [4, plan.initrdDigest],
    [5, plan.cmdline],
    [6, plan.vcpus],
    [7, plan.vcpuType],
    [8, plan.guestFeatures],
    [9, plan.vmmType],
    [10, plan.guestPolicy],
    [11, plan.measurement],
  ]);
}

function readPlan(map: MapReader): LaunchPlan {
  return {
    imageDigest: map.bytes(1, 'image_digest', { length: 32 }),
    firmwareDigest: map.bytes(2, 'firmware_digest', { length: 32 }),
    kernelDigest: map.bytes(3, 'kernel_digest', { length: 32 }),
    initrdDigest: map.bytes(4, 'initrd_digest', { length: 32 }),
    cmdline: map.text(5, 'cmdline'),
    vcpus: map.integer(6, 'vcpus'),
    vcpuType: map.text(7, 'vcpu_type'),
    guestFeatures: map.uint64(8, 'guest_features'),
    vmmType: map.text(9, 'vmm_type'),
    guestPolicy: map.uint64(10, 'guest_policy'),
    measurement: map.bytes(11, 'measurement', { length: 48 }),
  };
}

function launchMap(launch: Launch): CborMap {
  return closed([
    [1, specMap(launch.spec)],
    [2, planMap(launch.plan)],
  ]);
}

function readLaunch(map: MapReader): Launch {
  return {
    spec: map.map(1, 'spec', readSpec),
    plan: map.map(2, 'plan', readPlan),
  };
}

function readPending(map: MapReader): Pending {
  const launch = map.optional(3, () => map.map(3, 'launch', readLaunch));
  return {
    operation: oneOf(map.text(1, 'operation'), pendingOperations),
    force: map.boolean(2, 'force'),
    ...(launch && { launch }),
  };
}

export function cvmMap(cvm: Cvm): CborMap {
  const { pending } = cvm;
  return closed([
    [1, cvm.cvmId],
    [2, cvm.tenantId],
    [3, cvm.name],
    [4, cvm.state],
    [5, cvm.message],
    [6, launchMap(cvm.launch)],
    [7, cvm.requestId],
    [8, cvm.createdMs],
    [9, cvm.bootCount],
    [
      10,
      pending &&
        closed([
          [1, pending.operation],
          [2, pending.force],
          [3, pending.launch && launchMap(pending.launch)],
        ]),
    ],
  ]);
}

export function readCvm(map: MapReader): Cvm {
  const pending = map.optional(10, () => map.map(10, 'pending', readPending));
  return {
    cvmId: map.text(1, 'cvm_id'),
    tenantId: map.text(2, 'tenant_id'),
    name: map.text(3, 'name'),
    state: oneOf(map.text(4, 'state'), cvmStates),
    message: map.text(5, 'message'),
    launch: map.map(6, 'launch', readLaunch),
    requestId: map.bytes(7, 'request_id', { length: 16 }),
    createdMs: map.integer(8, 'created'),
    bootCount: map.integer(9, 'boot_count'),
    ...(pending && { pending }),
  };
}

export function createRequestMap(record: CreateRequestRecord): CborMap {
  return new Map<CborKey, CborValue>([
    [1, record.tenantId],
    [2, record.requestId],
    [3, record.digest],
    [4, record.cvmIds],
    [5, record.createdMs],
  ]);
}

export function readCreateRequest(map: MapReader): CreateRequestRecord {
  return {
    tenantId: map.text(1, 'tenant_id'),
    requestId: map.bytes(2, 'request_id', { length: 16 }),
    digest: map.bytes(3, 'digest', { length: 32 }),
    cvmIds: map.array(4, 'cvm_ids', {}, (item) => String(item)),
    createdMs: map.integer(5, 'created'),
  };
}
