import type { LevelRules } from '../rats/level-rules.js';

/** A realm that a tenant admits (RFC 9334 s.8.3: Reference Values). */
export interface CcaReference {
  /** RIM, of the length of the realm's hash. */
  readonly initialMeasurement: Uint8Array;
  /** REM0 to REM3; undefined: not looked at. */
  readonly extensibleMeasurements: readonly (Uint8Array | undefined)[];
  /** Security version of the image, 0 where it has none. */
  readonly imageSvn: number;
  readonly name: string;
}

/** Rules for CCA evidence. */
export interface CcaRules {
  /** None admits nothing. */
  readonly references: readonly CcaReference[];
  /** Admitted platforms by implementation id (32 bytes); empty: any that is endorsed. */
  readonly implementations: readonly Uint8Array[];
  /** Admitted platforms by instance id (33 bytes); empty: any. */
  readonly platformAllow: readonly Uint8Array[];
  readonly platformDeny: readonly Uint8Array[];
  /** Admitted measurements of platform firmware, each component's must be one; empty: any. */
  readonly firmware: readonly Uint8Array[];
  /** Admitted signers of platform firmware, each component's must be one; empty: any. */
  readonly firmwareSigners: readonly Uint8Array[];
  /** Admitted platform configurations; empty: any. */
  readonly configs: readonly Uint8Array[];
}

/** Rules that admit nothing yet: give them references. */
export const defaultRules: CcaRules = {
  references: [],
  implementations: [],
  platformAllow: [],
  platformDeny: [],
  firmware: [],
  firmwareSigners: [],
  configs: [],
};

/** What a CCA token must show to be of a level. */
export interface CcaLevel {
  /** Of the admitted reference. */
  readonly imageSvnMin: number;
}

const most = (levels: readonly CcaLevel[]) => Math.max(0, ...levels.map((l) => l.imageSvnMin));

/** How CCA levels compare (protocol.md s.6.4 rules 1 and 2). */
export const ccaLevelRules: LevelRules<CcaLevel> = {
  decreasing: (lower, higher) =>
    higher.imageSvnMin !== 0 && higher.imageSvnMin < lower.imageSvnMin
      ? 'image_svn_min'
      : undefined,
  relaxed: (previous, next) => (most(next) < most(previous) ? 'image_svn_min' : undefined),
};
