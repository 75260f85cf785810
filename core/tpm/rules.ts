import type { Bank } from '../eventlog/replay.js';
import type { LevelRules } from '../rats/level-rules.js';
import type { AkTrust } from './claims.js';

/** A boot that a tenant admits (RFC 9334 s.8.3: Reference Values). */
export interface TpmReference {
  /** Values by PCR; those that are not stated are not looked at. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** Security version of the image, 0 where it has none. */
  readonly imageSvn: number;
  readonly name: string;
}

/** What the measurements of a boot must show; shared by everything that has a TPM. */
export interface BootRules {
  /** None admits nothing. */
  readonly references: readonly TpmReference[];
  readonly bank: Bank;
  /** PCRs that must be quoted; more may be. */
  readonly pcrs: readonly number[];
  /** Quoted PCRs that neither the log nor a reference need explain. */
  readonly unexplained: readonly number[];
  /** Admit Secure Boot that is off or not proven. */
  readonly allowNoSecureBoot: boolean;
  /** SHA-256 of the certificates or hashes (32 bytes) that may have signed what was started; empty: any. */
  readonly authorities: readonly Uint8Array[];
  /** SHA-256 image hashes (32 bytes) that dbx must hold. */
  readonly dbxHolds: readonly Uint8Array[];
}

/** Rules for TPM evidence (protocol.md s.4). */
export interface TpmRules extends BootRules {
  /** Admitted kinds of trust in the AK; empty: any. */
  readonly akTrust: readonly AkTrust['by'][];
  /** Admitted projects of Google Cloud by id; empty: any. */
  readonly googleProjects: readonly string[];
  /** Admitted TPMs by SHA-256 (32 bytes) over the EK's SubjectPublicKeyInfo; empty: any. */
  readonly ekAllow: readonly Uint8Array[];
  readonly ekDeny: readonly Uint8Array[];
}

/** Rules that admit nothing yet: give them references. The defaults of protocol.md s.6.8. */
export const defaultBootRules: BootRules = {
  references: [],
  bank: 'sha256',
  pcrs: [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 15],
  unexplained: [],
  allowNoSecureBoot: false,
  authorities: [],
  dbxHolds: [],
};

export const defaultRules: TpmRules = {
  ...defaultBootRules,
  akTrust: [],
  googleProjects: [],
  ekAllow: [],
  ekDeny: [],
};

/** What TPM evidence must show to be of a level. */
export interface TpmLevel {
  /** Of the admitted reference. */
  readonly imageSvnMin: number;
  /** Lowest firmware version of the TPM. */
  readonly firmwareVersionMin: bigint;
}

function most(levels: readonly TpmLevel[]): TpmLevel {
  const versions = levels.map((level) => level.firmwareVersionMin);
  return {
    imageSvnMin: Math.max(0, ...levels.map((level) => level.imageSvnMin)),
    firmwareVersionMin: versions.find((one) => versions.every((other) => one >= other)) ?? 0n,
  };
}

/** How TPM levels compare (protocol.md s.6.4 rules 1 and 2). */
export const tpmLevelRules: LevelRules<TpmLevel> = {
  decreasing(lower, higher) {
    if (higher.imageSvnMin !== 0 && higher.imageSvnMin < lower.imageSvnMin) return 'image_svn_min';
    const { firmwareVersionMin: after } = higher;
    return after !== 0n && after < lower.firmwareVersionMin ? 'firmware_version_min' : undefined;
  },

  relaxed(previous, next) {
    const [before, after] = [most(previous), most(next)];
    if (after.imageSvnMin < before.imageSvnMin) return 'image_svn_min';
    return after.firmwareVersionMin < before.firmwareVersionMin
      ? 'firmware_version_min'
      : undefined;
  },
};
