/**
 * Layout of the ATTESTATION_REPORT (SEV-SNP ABI, MSG_REPORT_RSP). All integers are little-endian.
 * Every offset and size that CVMP uses is here under the ABI's own name.
 */

/** Bytes of a report. */
export const reportLength = 0x4a0;
/** The signature covers bytes 0 to here. */
export const signedLength = 0x2a0;

export interface ReportField {
  readonly offset: number;
  readonly length: number;
  /** First report version that has it; before that the bytes are reserved and zero. */
  readonly since?: number;
}

const field = (offset: number, length: number, since?: number): ReportField =>
  since === undefined ? { offset, length } : { offset, length, since };

/** Every field of the signed part. */
export const reportFields = {
  VERSION: field(0x000, 4),
  GUEST_SVN: field(0x004, 4),
  POLICY: field(0x008, 8),
  FAMILY_ID: field(0x010, 16),
  IMAGE_ID: field(0x020, 16),
  VMPL: field(0x030, 4),
  SIGNATURE_ALGO: field(0x034, 4),
  CURRENT_TCB: field(0x038, 8),
  PLATFORM_INFO: field(0x040, 8),
  KEY_INFO: field(0x048, 4),
  REPORT_DATA: field(0x050, 64),
  MEASUREMENT: field(0x090, 48),
  HOST_DATA: field(0x0c0, 32),
  ID_KEY_DIGEST: field(0x0e0, 48),
  AUTHOR_KEY_DIGEST: field(0x110, 48),
  REPORT_ID: field(0x140, 32),
  REPORT_ID_MA: field(0x160, 32),
  REPORTED_TCB: field(0x180, 8),
  CPUID_FAM_ID: field(0x188, 1, 3),
  CPUID_MOD_ID: field(0x189, 1, 3),
  CPUID_STEP: field(0x18a, 1, 3),
  CHIP_ID: field(0x1a0, 64),
  COMMITTED_TCB: field(0x1e0, 8),
  CURRENT_BUILD: field(0x1e8, 1),
  CURRENT_MINOR: field(0x1e9, 1),
  CURRENT_MAJOR: field(0x1ea, 1),
  COMMITTED_BUILD: field(0x1ec, 1),
  COMMITTED_MINOR: field(0x1ed, 1),
  COMMITTED_MAJOR: field(0x1ee, 1),
  LAUNCH_TCB: field(0x1f0, 8),
  LAUNCH_MIT_VECTOR: field(0x1f8, 8, 5),
  CURRENT_MIT_VECTOR: field(0x200, 8, 5),
} as const satisfies Record<string, ReportField>;

export type ReportFieldName = keyof typeof reportFields;

/** Signed bytes that no field covers, in every version; they must be zero. */
export const reservedRanges: readonly ReportField[] = [
  field(0x04c, 4),
  field(0x18b, 21),
  field(0x1eb, 1),
  field(0x1ef, 1),
  field(0x208, 0x2a0 - 0x208),
];

/** Signature: R, then S, little-endian in 72 bytes each of which 48 are used. */
export const signatureFields = {
  R: field(0x2a0, 72),
  S: field(0x2e8, 72),
} as const;

/** Bytes of R and S that are used: a P-384 scalar. */
export const scalarLength = 48;

/** SIGNATURE_ALGO of ECDSA P-384 with SHA-384, the only one. */
export const ecdsaP384Sha384 = 1;

/** KEY_INFO: AUTHOR_KEY_EN, MASK_CHIP_KEY, SIGNING_KEY; bits 31:5 are reserved. */
export const keyInfoBits = {
  authorKeyEn: 1 << 0,
  maskChipKey: 1 << 1,
  signingKeyShift: 2,
  signingKeyMask: 7,
  known: 0x1f,
} as const;

/** KEY_INFO.SIGNING_KEY; 2 to 6 are reserved. */
export const signingKeys = { 0: 'VCEK', 1: 'VLEK', 7: 'none' } as const;

/** Guest POLICY: ABI_MINOR in bits 7:0, ABI_MAJOR in 15:8, then flags; bits 63:26 are reserved. */
export const guestPolicyBits = {
  SMT: 1n << 16n,
  /** Must be one. */
  RESERVED_ONE: 1n << 17n,
  MIGRATE_MA: 1n << 18n,
  DEBUG: 1n << 19n,
  SINGLE_SOCKET: 1n << 20n,
  CXL_ALLOW: 1n << 21n,
  MEM_AES_256_XTS: 1n << 22n,
  RAPL_DIS: 1n << 23n,
  CIPHERTEXT_HIDING_DRAM: 1n << 24n,
  PAGE_SWAP_DISABLE: 1n << 25n,
} as const;

/** Bits of guest POLICY that have a meaning. */
export const guestPolicyKnown = (1n << 26n) - 1n;

/** Flags of PLATFORM_INFO; bits without a name here have been seen set and are not judged. */
export const platformInfoBits = {
  SMT_EN: 1n << 0n,
  TSME_EN: 1n << 1n,
  ECC_EN: 1n << 2n,
  RAPL_DIS: 1n << 3n,
  CIPHERTEXT_HIDING_DRAM_EN: 1n << 4n,
  ALIAS_CHECK_COMPLETE: 1n << 5n,
  TIO_EN: 1n << 7n,
} as const;

/** Versions of the report that CVMP understands. An unknown one is refused, never guessed at. */
export const reportVersionMin = 2;
export const reportVersionMax = 5;
/** First version with the CPUID fields. */
export const cpuidVersion = 3;
