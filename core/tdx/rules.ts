import { equalBytes } from '../bytes.js';
import type { LevelRules } from '../rats/level-rules.js';
import type { TcbStatus } from './endorsement/tcb-status.js';

/** A launch that a tenant admits (RFC 9334 s.8.3: Reference Values). */
export interface TdxReference {
  /** 48 bytes. */
  readonly mrTd: Uint8Array;
  /** RTMR0 to RTMR3, 48 bytes each; undefined: not looked at. */
  readonly rtmr: readonly [
    Uint8Array | undefined,
    Uint8Array | undefined,
    Uint8Array | undefined,
    Uint8Array | undefined,
  ];
  /** Security version of the image, 0 where it has none. */
  readonly imageSvn: number;
  readonly name: string;
}

/** An advisory that a tenant accepts for a while. */
export interface AcceptedAdvisory {
  /** `INTEL-SA-01234` */
  readonly id: string;
  /** Milliseconds since 1970; undefined: no end. */
  readonly until: number | undefined;
}

/** Rules for TDX evidence (protocol.md s.3.3). */
export interface TdxRules {
  /** None admits nothing. */
  readonly references: readonly TdxReference[];
  /** RTMRs (0 to 3) that the event log must explain. */
  readonly rtmrsExplained: readonly number[];
  /** Ask for Secure Boot, proven by the event log and RTMR0. */
  readonly requireSecureBoot: boolean;
  /** Admitted beside UpToDate. */
  readonly statuses: readonly TcbStatus[];
  /** Needed for each open advisory where the status is not UpToDate. */
  readonly advisoriesAccepted: readonly AcceptedAdvisory[];
  /** Refused at any status. */
  readonly advisoriesDenied: readonly string[];
  /** Bits of TDATTRIBUTES that must equal the value, beside those that code demands. */
  readonly tdAttributesMask: bigint;
  readonly tdAttributesValue: bigint;
  /** Admit a TD that is told by #VE when the host takes a page away (SEPT_VE_DISABLE clear). */
  readonly allowSeptVe: boolean;
  readonly xfamMask: bigint;
  readonly xfamValue: bigint;
  /** MRSERVICETD values (48 bytes) admitted, and with them MIGRATABLE; empty: neither. */
  readonly serviceTds: readonly Uint8Array[];
  /** 48 bytes; undefined: not looked at. Chosen by the host, so names and no authority. */
  readonly mrOwner: Uint8Array | undefined;
  readonly mrOwnerConfig: Uint8Array | undefined;
  /** Admitted MRSEAM (48 bytes); empty: any module that Intel lists. */
  readonly modules: readonly Uint8Array[];
  /** Admitted platforms by PPID (16 bytes); empty: any. */
  readonly platformAllow: readonly Uint8Array[];
  readonly platformDeny: readonly Uint8Array[];
  /** Admitted platform families by FMSPC (6 bytes); empty: any. */
  readonly familyAllow: readonly Uint8Array[];
  readonly familyDeny: readonly Uint8Array[];
}

/** Rules that admit nothing yet: give them references. The defaults of protocol.md s.6.8. */
export const defaultRules: TdxRules = {
  references: [],
  rtmrsExplained: [],
  requireSecureBoot: false,
  statuses: [],
  advisoriesAccepted: [],
  advisoriesDenied: [],
  tdAttributesMask: 0n,
  tdAttributesValue: 0n,
  allowSeptVe: false,
  xfamMask: 0n,
  xfamValue: 0n,
  serviceTds: [],
  mrOwner: undefined,
  mrOwnerConfig: undefined,
  modules: [],
  platformAllow: [],
  platformDeny: [],
  familyAllow: [],
  familyDeny: [],
};

/** What a TDX quote must show to be of a level. */
export interface TdxLevel {
  /** Admitted at this level; empty: not looked at. */
  readonly statuses: readonly TcbStatus[];
  /** Oldest date of the matched TCB level, milliseconds since 1970; 0: not looked at. */
  readonly tcbDateMin: number;
  /** Lowest tcbEvaluationDataNumber of the collateral: stops older collateral that is still in date. */
  readonly evaluationNumberMin: number;
  /** Of the admitted reference. */
  readonly imageSvnMin: number;
  /** Lowest SVN of the TDX module that the TD was launched under; a version not here is not looked at. */
  readonly modulesMin?: readonly TdxModuleMin[];
  /** Advisories that must be closed, whatever the status. */
  readonly advisoriesClosed?: readonly string[];
}

/** The lowest TEE_TCB_SVN[0] of modules of a version, TEE_TCB_SVN[1]. */
export interface TdxModuleMin {
  readonly version: number;
  readonly svn: number;
}

/** The lowest module SVN that these levels ask for a version together; 0: they ask none. */
export function moduleFloor(levels: readonly TdxLevel[], version: number): number {
  const rows = levels.flatMap(({ modulesMin = [] }) => modulesMin);
  return Math.max(0, ...rows.filter((row) => row.version === version).map(({ svn }) => svn));
}

type Floor = 'tcbDateMin' | 'evaluationNumberMin' | 'imageSvnMin';

/** Floors and their paths in messages. */
const floors: readonly (readonly [Floor, string])[] = [
  ['tcbDateMin', 'tcb_date_min'],
  ['evaluationNumberMin', 'evaluation_number_min'],
  ['imageSvnMin', 'image_svn_min'],
];

/** How TDX levels compare (protocol.md s.6.4 rules 1 and 2). */
export const tdxLevelRules: LevelRules<TdxLevel, TdxRules> = {
  promoted(previous, next) {
    const i = next.references.findIndex((reference) =>
      previous.references.some(
        (one) => isSameImage(one, reference) && reference.imageSvn > one.imageSvn,
      ),
    );
    return i < 0 ? undefined : `references[${i}].image_svn`;
  },

  decreasing(lower, higher) {
    const sunk = floors.find(([name]) => higher[name] !== 0 && higher[name] < lower[name]);
    if (sunk !== undefined) return sunk[1];
    for (const { version, svn } of higher.modulesMin ?? []) {
      if (svn < moduleFloor([lower], version)) return `modules_min[${version}]`;
    }
    if (higher.statuses.length === 0 || lower.statuses.length === 0) return undefined;
    return isSubset(higher.statuses, lower.statuses) ? undefined : 'statuses';
  },

  relaxed(previous, next) {
    const most = (levels: readonly TdxLevel[], name: Floor) =>
      Math.max(0, ...levels.map((level) => level[name]));
    const sunk = floors.find(([name]) => most(next, name) < most(previous, name));
    if (sunk !== undefined) return sunk[1];
    for (const { version } of previous.flatMap(({ modulesMin = [] }) => modulesMin)) {
      if (moduleFloor(next, version) < moduleFloor(previous, version)) {
        return `modules_min[${version}]`;
      }
    }
    const closed = next.flatMap(({ advisoriesClosed = [] }) => advisoriesClosed);
    const asked = previous.flatMap(({ advisoriesClosed = [] }) => advisoriesClosed);
    if (!asked.every((id) => closed.includes(id))) return 'advisories_closed';
    const [before, after] = [admitted(previous), admitted(next)];
    if (before === undefined) return undefined;
    return after !== undefined && isSubset(after, before) ? undefined : 'statuses';
  },
};

/** What all levels admit together, or undefined where none looks. */
function admitted(levels: readonly TdxLevel[]): readonly TcbStatus[] | undefined {
  return levels
    .map(({ statuses }) => statuses)
    .filter((statuses) => statuses.length > 0)
    .reduce<readonly TcbStatus[] | undefined>(
      (all, statuses) => all?.filter((status) => statuses.includes(status)) ?? statuses,
      undefined,
    );
}

function isSameImage(a: TdxReference, b: TdxReference): boolean {
  const isSame = (one: Uint8Array | undefined, other: Uint8Array | undefined) =>
    one === undefined || other === undefined ? one === other : equalBytes(one, other);
  return equalBytes(a.mrTd, b.mrTd) && a.rtmr.every((rtmr, i) => isSame(rtmr, b.rtmr[i]));
}

function isSubset(inner: readonly TcbStatus[], outer: readonly TcbStatus[]): boolean {
  return inner.every((status) => outer.includes(status));
}
