import { equalBytes } from '../bytes.js';
import type { LevelRules } from '../rats/level-rules.js';
import type { IdBlock } from './launch/id-block.js';
import type { FirmwareVersion } from './parse.js';
import { productNames, type SnpProduct, type SnpTcb, tcbComponents } from './product.js';

/** A launch measurement that a tenant admits (RFC 9334 s.8.3: a Reference Value). */
export interface ReferenceMeasurement {
  /** 48 bytes. */
  readonly digest: Uint8Array;
  /** Security version of the image, 0 where it has none. */
  readonly imageSvn: number;
  readonly name: string;
}

/** Rules for SNP evidence: `SnpRules` of proto/cvmp/v1/policy.proto, field for field. */
export interface SnpRules {
  /** None admits nothing. */
  readonly measurements: readonly ReferenceMeasurement[];
  readonly vmpl: number;
  /** Empty: all but Milan, which then needs `chipAllow`. */
  readonly products: readonly string[];
  /** Refused products, whatever else admits them. */
  readonly productsDeny: readonly string[];
  /** CHIP_ID (64 bytes) or its 8 significant bytes; empty: any chip. */
  readonly chipAllow: readonly Uint8Array[];
  readonly chipDeny: readonly Uint8Array[];
  readonly guestPolicyMask: bigint;
  readonly guestPolicyValue: bigint;
  /** Lowest ABI version that the guest policy may admit; undefined: not looked at. */
  readonly guestAbiMin: { readonly major: number; readonly minor: number } | undefined;
  readonly platformInfoMask: bigint;
  readonly platformInfoValue: bigint;
  /** Admit a platform that has not checked its memory for aliases (BadRAM). */
  readonly allowNoAliasCheck: boolean;
  /** Cloud providers whose VLEK is admitted; empty: none. */
  readonly cspIds: readonly string[];
  readonly allowReportV2: boolean;
  /** REPORT_ID_MA values (32 bytes) that MIGRATE_MA is admitted with; empty: it is not. */
  readonly migrationAgents: readonly Uint8Array[];
  /** Admitted ID_KEY_DIGEST (48 bytes); empty: no ID block needed. */
  readonly idKeyDigests: readonly Uint8Array[];
  /** Admitted AUTHOR_KEY_DIGEST (48 bytes); empty: not looked at. */
  readonly authorKeyDigests: readonly Uint8Array[];
  /** The report must show all that one of them says; empty: no ID block needed. */
  readonly idBlocks: readonly IdBlock[];
  /** 16 bytes; undefined: not looked at. */
  readonly familyId: Uint8Array | undefined;
  /** 16 bytes; undefined: not looked at. */
  readonly imageId: Uint8Array | undefined;
  /** Admit CURRENT above COMMITTED: firmware that can still be rolled back. */
  readonly allowProvisionalFirmware: boolean;
  /** The chain must have been held against a current revocation list of its root. */
  readonly requireCrl: boolean;
  /** Oldest such list; 0: any that is current. */
  readonly crlAgeSecondsMax: number;
}

/** Rules that admit nothing yet: give them measurements. The defaults of protocol.md s.6.8. */
export const defaultRules: SnpRules = {
  measurements: [],
  vmpl: 0,
  products: [],
  productsDeny: [],
  chipAllow: [],
  chipDeny: [],
  guestPolicyMask: 0n,
  guestPolicyValue: 0n,
  guestAbiMin: undefined,
  platformInfoMask: 0n,
  platformInfoValue: 0n,
  allowNoAliasCheck: false,
  cspIds: [],
  allowReportV2: false,
  migrationAgents: [],
  idKeyDigests: [],
  authorKeyDigests: [],
  idBlocks: [],
  familyId: undefined,
  imageId: undefined,
  allowProvisionalFirmware: false,
  requireCrl: false,
  crlAgeSecondsMax: 0,
};

/** The lowest TCB of a product, each component by itself. */
export interface SnpTcbMin {
  readonly product: string;
  /** Of REPORTED_TCB and, but for what follows, of the others. */
  readonly tcb: SnpTcb;
  /** Of COMMITTED_TCB, below which the firmware cannot be set back. */
  readonly committed?: SnpTcb | undefined;
  /** Of LAUNCH_TCB, under which the guest was launched or imported. */
  readonly launch?: SnpTcb | undefined;
}

/** What an SNP report must show to be of a level: `SnpLevel` of policy.proto. */
export interface SnpLevel {
  /** A product that is missing is not looked at. */
  readonly tcbMin: readonly SnpTcbMin[];
  readonly guestSvnMin: number;
  /** Of the admitted measurement. */
  readonly imageSvnMin: number;
  /** Bits that both mitigation vectors must have set. */
  readonly mitigationVector: bigint;
  /** Of the firmware that runs and of that which is committed; undefined: not looked at. */
  readonly firmwareMin?: FirmwareVersion | undefined;
}

/** TCB versions of a report that a level has floors for. */
export const tcbKinds = ['reported', 'committed', 'launch'] as const;
export type TcbKind = (typeof tcbKinds)[number];

/** The lowest TCB of this kind that a level asks of a product, or undefined where it asks none. */
export function tcbFloorOf(level: SnpLevel, product: string, kind: TcbKind): SnpTcb | undefined {
  const row = level.tcbMin.find((one) => one.product === product);
  return (kind === 'reported' ? undefined : row?.[kind]) ?? row?.tcb;
}

/** The lowest TCB that all these levels ask of a product, or undefined where none asks. */
export function tcbFloor(
  levels: readonly SnpLevel[],
  product: SnpProduct,
  kind: TcbKind = 'reported',
): SnpTcb | undefined {
  const asked = levels.flatMap((level) => tcbFloorOf(level, product, kind) ?? []);
  if (asked.length === 0) return undefined;
  const most = (name: keyof SnpTcb) => Math.max(...asked.map((tcb) => tcb[name]));
  return {
    fmc: most('fmc'),
    bootloader: most('bootloader'),
    tee: most('tee'),
    snp: most('snp'),
    microcode: most('microcode'),
  };
}

/** Whether a version comes before another. */
export function firmwareBelow(a: FirmwareVersion, b: FirmwareVersion): boolean {
  if (a.major !== b.major) return a.major < b.major;
  return a.minor === b.minor ? a.build < b.build : a.minor < b.minor;
}

/** Path of the first component in which a floor sinks, if any. */
function sunken(
  product: string,
  kind: TcbKind,
  before: SnpTcb | undefined,
  after: SnpTcb | undefined,
): string | undefined {
  const component = tcbComponents.find((name) => before && after && after[name] < before[name]);
  if (component === undefined) return undefined;
  const of = kind === 'reported' ? '' : `.${kind}`;
  return `tcb_min[${product}]${of}.${component}`;
}

function firstOf<T>(list: readonly T[], path: (item: T) => string | undefined): string | undefined {
  for (const item of list) {
    const found = path(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** How SNP levels compare (protocol.md s.6.4 rules 1 and 2). */
export const snpLevelRules: LevelRules<SnpLevel, SnpRules> = {
  promoted(previous, next) {
    const i = next.measurements.findIndex(({ digest, imageSvn }) =>
      previous.measurements.some(
        (one) => equalBytes(one.digest, digest) && imageSvn > one.imageSvn,
      ),
    );
    return i < 0 ? undefined : `measurements[${i}].image_svn`;
  },

  decreasing(lower, higher) {
    const tcb = firstOf(higher.tcbMin, (row) =>
      firstOf(tcbKinds, (kind) => {
        const stated = kind === 'reported' ? row.tcb : row[kind];
        return sunken(row.product, kind, tcbFloorOf(lower, row.product, kind), stated);
      }),
    );
    if (tcb !== undefined) return tcb;
    const sinks = (before: number, after: number) => after !== 0 && after < before;
    if (sinks(lower.guestSvnMin, higher.guestSvnMin)) return 'guest_svn_min';
    if (sinks(lower.imageSvnMin, higher.imageSvnMin)) return 'image_svn_min';
    const { mitigationVector, firmwareMin } = higher;
    if (mitigationVector !== 0n && (lower.mitigationVector & ~mitigationVector) !== 0n) {
      return 'mitigation_vector';
    }
    const isSunken =
      firmwareMin && lower.firmwareMin && firmwareBelow(firmwareMin, lower.firmwareMin);
    return isSunken ? 'firmware_min' : undefined;
  },

  relaxed(previous, next) {
    const tcb = firstOf(productNames, (product) => relaxedTcb(previous, next, product));
    if (tcb !== undefined) return tcb;
    const most = (levels: readonly SnpLevel[], name: 'guestSvnMin' | 'imageSvnMin') =>
      Math.max(0, ...levels.map((level) => level[name]));
    if (most(next, 'guestSvnMin') < most(previous, 'guestSvnMin')) return 'guest_svn_min';
    if (most(next, 'imageSvnMin') < most(previous, 'imageSvnMin')) return 'image_svn_min';
    const bits = (levels: readonly SnpLevel[]) =>
      levels.reduce((all, level) => all | level.mitigationVector, 0n);
    if ((bits(previous) & ~bits(next)) !== 0n) return 'mitigation_vector';
    return firmwareBelow(firmwareFloor(next), firmwareFloor(previous)) ? 'firmware_min' : undefined;
  },
};

function relaxedTcb(
  previous: readonly SnpLevel[],
  next: readonly SnpLevel[],
  product: SnpProduct,
): string | undefined {
  if (tcbFloor(previous, product) === undefined) return undefined;
  if (tcbFloor(next, product) === undefined) return `tcb_min[${product}]`;
  return firstOf(tcbKinds, (kind) =>
    sunken(product, kind, tcbFloor(previous, product, kind), tcbFloor(next, product, kind)),
  );
}

/** 0.0.0 where no level asks. */
function firmwareFloor(levels: readonly SnpLevel[]): FirmwareVersion {
  const none: FirmwareVersion = { major: 0, minor: 0, build: 0 };
  return levels.reduce(
    (highest, { firmwareMin }) =>
      firmwareMin && firmwareBelow(highest, firmwareMin) ? firmwareMin : highest,
    none,
  );
}
