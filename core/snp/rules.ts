import type { LevelRules } from '../rats/level-rules.js';
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
  /** CHIP_ID (64 bytes) or its 8 significant bytes; empty: any chip. */
  readonly chipAllow: readonly Uint8Array[];
  readonly chipDeny: readonly Uint8Array[];
  readonly guestPolicyMask: bigint;
  readonly guestPolicyValue: bigint;
  /** 0 in mask and value: ALIAS_CHECK_COMPLETE must be set. */
  readonly platformInfoMask: bigint;
  readonly platformInfoValue: bigint;
  /** Cloud providers whose VLEK is admitted; empty: none. */
  readonly cspIds: readonly string[];
  readonly allowReportV2: boolean;
  /** REPORT_ID_MA values (32 bytes) that MIGRATE_MA is admitted with; empty: it is not. */
  readonly migrationAgents: readonly Uint8Array[];
  /** Admitted ID_KEY_DIGEST (48 bytes); empty: no ID block needed. */
  readonly idKeyDigests: readonly Uint8Array[];
  /** Admitted AUTHOR_KEY_DIGEST (48 bytes); empty: not looked at. */
  readonly authorKeyDigests: readonly Uint8Array[];
  /** 16 bytes; undefined: not looked at. */
  readonly familyId: Uint8Array | undefined;
  /** 16 bytes; undefined: not looked at. */
  readonly imageId: Uint8Array | undefined;
  /** Admit CURRENT above COMMITTED: firmware that can still be rolled back. */
  readonly allowProvisionalFirmware: boolean;
}

/** Rules that admit nothing yet: give them measurements. The defaults of protocol.md s.6.8. */
export const defaultRules: SnpRules = {
  measurements: [],
  vmpl: 0,
  products: [],
  chipAllow: [],
  chipDeny: [],
  guestPolicyMask: 0n,
  guestPolicyValue: 0n,
  platformInfoMask: 0n,
  platformInfoValue: 0n,
  cspIds: [],
  allowReportV2: false,
  migrationAgents: [],
  idKeyDigests: [],
  authorKeyDigests: [],
  familyId: undefined,
  imageId: undefined,
  allowProvisionalFirmware: false,
};

/** What an SNP report must show to be of a level: `SnpLevel` of policy.proto. */
export interface SnpLevel {
  /** REPORTED, COMMITTED and LAUNCH must reach it; a product that is missing is not looked at. */
  readonly tcbMin: readonly { readonly product: string; readonly tcb: SnpTcb }[];
  readonly guestSvnMin: number;
  /** Of the admitted measurement. */
  readonly imageSvnMin: number;
  /** Bits that both mitigation vectors must have set. */
  readonly mitigationVector: bigint;
}

/** The lowest TCB that all these levels ask of a product, or undefined where none asks. */
export function tcbFloor(levels: readonly SnpLevel[], product: SnpProduct): SnpTcb | undefined {
  const asked = levels.flatMap((l) => l.tcbMin.filter((row) => row.product === product));
  if (asked.length === 0) return undefined;
  const most = (name: keyof SnpTcb) => Math.max(...asked.map(({ tcb }) => tcb[name]));
  return {
    fmc: most('fmc'),
    bootloader: most('bootloader'),
    tee: most('tee'),
    snp: most('snp'),
    microcode: most('microcode'),
  };
}

/** How SNP levels compare (protocol.md s.6.4 rules 1 and 2). */
export const snpLevelRules: LevelRules<SnpLevel> = {
  decreasing(lower, higher) {
    for (const { product, tcb } of higher.tcbMin) {
      const before = lower.tcbMin.find((row) => row.product === product)?.tcb;
      const component = tcbComponents.find((name) => before && tcb[name] < before[name]);
      if (component !== undefined) return `tcb_min[${product}].${component}`;
    }
    const sinks = (before: number, after: number) => after !== 0 && after < before;
    if (sinks(lower.guestSvnMin, higher.guestSvnMin)) return 'guest_svn_min';
    if (sinks(lower.imageSvnMin, higher.imageSvnMin)) return 'image_svn_min';
    const { mitigationVector } = higher;
    if (mitigationVector !== 0n && (lower.mitigationVector & ~mitigationVector) !== 0n) {
      return 'mitigation_vector';
    }
    return undefined;
  },

  relaxed(previous, next) {
    for (const product of productNames) {
      const before = tcbFloor(previous, product);
      const after = tcbFloor(next, product);
      if (before === undefined) continue;
      if (after === undefined) return `tcb_min[${product}]`;
      const component = tcbComponents.find((name) => after[name] < before[name]);
      if (component !== undefined) return `tcb_min[${product}].${component}`;
    }
    const most = (levels: readonly SnpLevel[], name: 'guestSvnMin' | 'imageSvnMin') =>
      Math.max(0, ...levels.map((level) => level[name]));
    if (most(next, 'guestSvnMin') < most(previous, 'guestSvnMin')) return 'guest_svn_min';
    if (most(next, 'imageSvnMin') < most(previous, 'imageSvnMin')) return 'image_svn_min';
    const bits = (levels: readonly SnpLevel[]) =>
      levels.reduce((all, level) => all | level.mitigationVector, 0n);
    return (bits(previous) & ~bits(next)) === 0n ? undefined : 'mitigation_vector';
  },
};
