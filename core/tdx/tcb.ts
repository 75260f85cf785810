import { equalBytes, toHex } from '../bytes.js';
import { CvmpError } from '../errors.js';
import type { PckPlatform } from './endorsement/pck.js';
import type { QeIdentity } from './endorsement/qe-identity.js';
import {
  type IsvLevel,
  type LevelStatus,
  type ModuleIdentity,
  moduleIdOf,
  type PlatformLevel,
  type TcbInfo,
  type VersionedModule,
} from './endorsement/tcb-info.js';
import {
  isConfigurationNeeded,
  isOutOfDate,
  mergeStatus,
  type TcbStatus,
} from './endorsement/tcb-status.js';
import type { TdxQuote } from './parse.js';
import type { TdReport } from './report.js';

/** What Intel's collateral says of a TD, its module, its platform and its Quoting Enclave. */
export interface TcbEvaluation {
  /** The TDX module; `id` is undefined for modules before versions were counted. */
  readonly module: { readonly id: string | undefined; readonly level: LevelStatus | undefined };
  readonly platform: PlatformLevel | undefined;
  readonly qe: IsvLevel | undefined;
  /** The worst of the three; undefined where one of them matches no level at all. */
  readonly status: TcbStatus | undefined;
  /** The oldest of the matched levels, milliseconds since 1970. */
  readonly tcbDate: number | undefined;
  /** Open at one of the matched levels, without repetition. */
  readonly advisoryIds: readonly string[];
  /** The lower one of TCB Info and QE Identity. */
  readonly evaluationNumber: number;
}

/**
 * Steps 11 to 13: module, platform level and merge (protocol.md s.3.2). A TD is of the level that
 * it was launched under (TEE_TCB_SVN); only a relaunch raises it.
 * @throws CvmpError TDX_MODULE_MISMATCH
 */
export function evaluateTcb(
  quote: Pick<TdxQuote, 'td' | 'qeReport'>,
  pck: PckPlatform,
  tcbInfo: TcbInfo,
  qeIdentity: QeIdentity,
): TcbEvaluation {
  const { td } = quote;
  const identity = verifyModule(td, tcbInfo);
  const isVersioned = moduleVersion(td.teeTcbSvn) > 0;
  const moduleLevel = isVersioned ? isvLevel(identity.levels, td.teeTcbSvn[0]!) : undefined;
  const platform = tcbInfo.levels.find((l) => isAtSgxLevel(pck, l) && isAtTdxLevel(td, l));
  const qe = isvLevel(qeIdentity.levels, quote.qeReport.isvSvn);
  const matched = [platform, qe, ...(isVersioned ? [moduleLevel] : [])];
  const levels = matched.filter((level) => level !== undefined);
  const isKnown = levels.length === matched.length;
  const merged = levels.map((level) => level.status).reduce(mergeStatus, 'UpToDate');
  return {
    module: { id: isVersioned ? identity.id : undefined, level: moduleLevel },
    platform,
    qe,
    status: isKnown
      ? (relaunchStatus(td, pck, tcbInfo, { merged, moduleLevel, qe }) ?? merged)
      : undefined,
    tcbDate: isKnown ? Math.min(...levels.map((level) => level.tcbDate)) : undefined,
    advisoryIds: [...new Set(levels.flatMap((level) => level.advisoryIds))],
    evaluationNumber: Math.min(tcbInfo.evaluationNumber, qeIdentity.evaluationNumber),
  };
}

/** Second byte of TEE_TCB_SVN; 0 in modules before versions were counted. */
function moduleVersion(teeTcbSvn: Uint8Array): number {
  return teeTcbSvn[1]!;
}

/**
 * Step 11: the TDX module is Intel's (protocol.md s.3.2).
 * @returns the identity that applies
 */
function verifyModule(td: TdReport, tcbInfo: TcbInfo): VersionedModule {
  const version = moduleVersion(td.teeTcbSvn);
  const identity =
    version === 0
      ? { id: 'tdxModule', levels: [], ...tcbInfo.module }
      : versionedModule(tcbInfo, version);
  if (!equalBytes(td.mrSignerSeam, identity.mrSigner)) {
    throw moduleMismatch(`signer ${toHex(td.mrSignerSeam)}`);
  }
  if (!hasSeamAttributes(td, identity)) {
    throw moduleMismatch(`attributes ${td.seamAttributes.toString(16)}`);
  }
  return identity;
}

function versionedModule(tcbInfo: TcbInfo, version: number): VersionedModule {
  const id = moduleIdOf(version);
  const identity = tcbInfo.modules.find((module) => module.id.toUpperCase() === id);
  if (identity === undefined) throw moduleMismatch(`version ${version}, which has no identity`);
  return identity;
}

function hasSeamAttributes(td: TdReport, identity: ModuleIdentity): boolean {
  const mask = littleEndian(identity.attributesMask);
  return (td.seamAttributes & mask) === littleEndian(identity.attributes);
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function moduleMismatch(found: string): CvmpError {
  return new CvmpError('TDX_MODULE_MISMATCH', `the TDX module has ${found}`, {
    field: 'td_report.mrsignerseam',
  });
}

function isvLevel(levels: readonly IsvLevel[], isvSvn: number): IsvLevel | undefined {
  return levels.find((level) => isvSvn >= level.isvSvn);
}

/** Step 12, first half: what the PCK certificate says of the platform. */
function isAtSgxLevel(pck: PckPlatform, level: PlatformLevel): boolean {
  return (
    level.sgxComponents.every((svn, i) => pck.components[i]! >= svn) && pck.pceSvn >= level.pceSvn
  );
}

/**
 * Step 12, second half: components 0 and 1 count only for modules without a version; otherwise they
 * are the module's own isvsvn and version and are judged by its identity (Intel PCS API v4).
 */
function isAtTdxLevel(td: TdReport, level: PlatformLevel): boolean {
  const from = moduleVersion(td.teeTcbSvn) === 0 ? 0 : 2;
  return level.tdxComponents.every((svn, i) => i < from || td.teeTcbSvn[i]! >= svn);
}

interface Matched {
  readonly merged: TcbStatus;
  readonly moduleLevel: IsvLevel | undefined;
  readonly qe: IsvLevel | undefined;
}

/**
 * A TD 1.5 report also says which module is loaded now. Where only the module that the TD was
 * launched under is old, and the loaded one is current, relaunching the TD is all that is needed
 * (Intel Quote Verification Library, 4.1.2.4.17.4.3). It remains a status of its own: what an old
 * module did to the TD in the meantime is not undone by an update.
 */
function relaunchStatus(
  td: TdReport,
  pck: PckPlatform,
  tcbInfo: TcbInfo,
  { merged, moduleLevel, qe }: Matched,
): TcbStatus | undefined {
  const latest = tcbInfo.levels[0];
  const sgx = tcbInfo.levels.find((level) => isAtSgxLevel(pck, level));
  if (td.teeTcbSvn2 === undefined || latest === undefined || sgx === undefined) return undefined;
  const onlyModuleIsOld =
    moduleLevel?.status === 'OutOfDate' &&
    isOutOfDate(merged) &&
    qe?.status === 'UpToDate' &&
    sgx.status !== 'Revoked' &&
    !isOutOfDate(sgx.status);
  if (!onlyModuleIsOld || !isLatest(td.teeTcbSvn2, latest, tcbInfo)) return undefined;
  return isConfigurationNeeded(merged) || isConfigurationNeeded(sgx.status)
    ? 'TDRelaunchAdvisedConfigurationNeeded'
    : 'TDRelaunchAdvised';
}

function isLatest(teeTcbSvn2: Uint8Array, latest: PlatformLevel, tcbInfo: TcbInfo): boolean {
  const version = moduleVersion(teeTcbSvn2);
  const lowest =
    version === 0 ? latest.tdxComponents[0] : versionedModule(tcbInfo, version).levels[0]?.isvSvn;
  return (
    lowest !== undefined && teeTcbSvn2[0]! >= lowest && teeTcbSvn2[2]! >= latest.tdxComponents[2]!
  );
}
