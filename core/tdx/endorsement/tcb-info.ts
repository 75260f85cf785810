import { toHex } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import { JsonReader } from './signed-json.js';
import { isTcbStatus, type TcbStatus } from './tcb-status.js';

/** Dates and version that TCB Info and QE Identity share. */
export interface CollateralHead {
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly issueDate: number;
  /** Milliseconds since 1970. */
  readonly nextUpdate: number;
  /** Rises with every TCB recovery of Intel. */
  readonly evaluationNumber: number;
}

/** Status that Intel gives to all that is at or above a level. */
export interface LevelStatus {
  readonly status: TcbStatus;
  /** Milliseconds since 1970. */
  readonly tcbDate: number;
  /** INTEL-SA-... that are open at this level. */
  readonly advisoryIds: readonly string[];
}

/** Level of an enclave or module that has one security version. */
export interface IsvLevel extends LevelStatus {
  readonly isvSvn: number;
}

/** Level of a platform. */
export interface PlatformLevel extends LevelStatus {
  /** 16 lowest SGX component SVNs. */
  readonly sgxComponents: readonly number[];
  readonly pceSvn: number;
  /** 16 lowest TDX component SVNs. */
  readonly tdxComponents: readonly number[];
}

/** What a TDX module must be. */
export interface ModuleIdentity {
  /** 48 bytes. */
  readonly mrSigner: Uint8Array;
  /** 8 bytes each. */
  readonly attributes: Uint8Array;
  readonly attributesMask: Uint8Array;
}

/** A module identity of one version, with its own levels. */
export interface VersionedModule extends ModuleIdentity {
  /** `TDX_01` */
  readonly id: string;
  readonly levels: readonly IsvLevel[];
}

/** TDX TCB Info of one platform family (Intel PCS API v4, "Get TDX TCB Info"). */
export interface TcbInfo extends CollateralHead {
  /** 6 bytes. */
  readonly fmspc: Uint8Array;
  /** 2 bytes. */
  readonly pceId: Uint8Array;
  readonly module: ModuleIdentity;
  readonly modules: readonly VersionedModule[];
  /** As Intel sorted them, highest first. */
  readonly levels: readonly PlatformLevel[];
}

const versionMin = 3;
const levelsMax = 256;
const advisoriesMax = 1024;
const uint32Max = 0xffff_ffff;

/**
 * Reads TCB Info (protocol.md s.3.2 step 3).
 * @param value the signed value
 * @throws CvmpError MALFORMED, SIZE, COLLATERAL_TYPE (of SGX, or a version that knows no TDX)
 */
export function readTcbInfo(value: unknown): TcbInfo {
  const json = new JsonReader(value, 'tcbInfo');
  const head = readCollateralHead(json, 'TDX', versionMin);
  if (json.integer('tcbType', uint32Max) !== 0) {
    throw new CvmpError('COLLATERAL_TYPE', 'TCB Info of an unknown TCB type', {
      field: json.path('tcbType'),
    });
  }
  const modules = json.has('tdxModuleIdentities')
    ? json.list('tdxModuleIdentities', levelsMax, readVersionedModule)
    : [];
  return {
    ...head,
    fmspc: json.hex('fmspc', 6),
    pceId: json.hex('pceId', 2),
    module: readModule(json.object('tdxModule')),
    modules,
    levels: json.list('tcbLevels', levelsMax, readPlatformLevel),
  };
}

/** @throws CvmpError MALFORMED, COLLATERAL_TYPE */
export function readCollateralHead(
  json: JsonReader,
  wantedId: string,
  lowestVersion: number,
): CollateralHead {
  const version = json.integer('version', uint32Max);
  const id = version < lowestVersion ? undefined : json.text('id');
  if (id !== wantedId) {
    const what = `${json.path('id')} is ${id ?? 'absent'} of version ${version}, not ${wantedId}`;
    throw new CvmpError('COLLATERAL_TYPE', what, { field: json.path('id') });
  }
  return {
    version,
    issueDate: json.time('issueDate'),
    nextUpdate: json.time('nextUpdate'),
    evaluationNumber: json.integer('tcbEvaluationDataNumber', uint32Max),
  };
}

/** Levels of QE Identity and of TDX modules. */
export function readIsvLevel(value: unknown, path: string): IsvLevel {
  const json = new JsonReader(value, path);
  return { isvSvn: json.object('tcb').integer('isvsvn', 0xffff), ...readLevelStatus(json) };
}

function readLevelStatus(json: JsonReader): LevelStatus {
  const status = json.text('tcbStatus');
  if (!isTcbStatus(status)) {
    throw new CvmpError('MALFORMED', `${json.path('tcbStatus')} is ${status}`, {
      field: json.path('tcbStatus'),
    });
  }
  return {
    status,
    tcbDate: json.time('tcbDate'),
    advisoryIds: json.has('advisoryIDs') ? json.list('advisoryIDs', advisoriesMax, asText) : [],
  };
}

function asText(value: unknown, path: string): string {
  if (typeof value === 'string') return value;
  throw new CvmpError('MALFORMED', `${path} is not a text`, { field: path });
}

function readPlatformLevel(value: unknown, path: string): PlatformLevel {
  const json = new JsonReader(value, path);
  const tcb = json.object('tcb');
  return {
    sgxComponents: readComponents(tcb, 'sgxtcbcomponents'),
    pceSvn: tcb.integer('pcesvn', 0xffff),
    tdxComponents: readComponents(tcb, 'tdxtcbcomponents'),
    ...readLevelStatus(json),
  };
}

function readComponents(tcb: JsonReader, name: string): readonly number[] {
  const components = tcb.list(name, 16, (value, path) =>
    new JsonReader(value, path).integer('svn', 255),
  );
  if (components.length !== 16) {
    throw new CvmpError('MALFORMED', `${tcb.path(name)} has not 16 components`, {
      field: tcb.path(name),
    });
  }
  return components;
}

function readModule(json: JsonReader): ModuleIdentity {
  return {
    mrSigner: json.hex('mrsigner', 48),
    attributes: json.hex('attributes', 8),
    attributesMask: json.hex('attributesMask', 8),
  };
}

function readVersionedModule(value: unknown, path: string): VersionedModule {
  const json = new JsonReader(value, path);
  return {
    id: json.text('id'),
    ...readModule(json),
    levels: json.list('tcbLevels', levelsMax, readIsvLevel),
  };
}

/** Name of the identity of a module version: `TDX_01` of version 1. */
export function moduleIdOf(version: number): string {
  return `TDX_${toHex(Uint8Array.of(version)).toUpperCase()}`;
}
