import { ByteReader } from '../bytes.js';
import { CvmpError } from '../errors.js';
import {
  cpuidVersion,
  keyInfoBits,
  type ReportFieldName,
  reportFields,
  reportLength,
  signatureFields,
  signedLength,
  signingKeys,
} from './layout.js';
import type { Cpuid } from './product.js';

/** Which key signed a report, as KEY_INFO says. */
export type SigningKey = 'VCEK' | 'VLEK' | 'none' | 'reserved';

/** Version of the SNP firmware. */
export interface FirmwareVersion {
  readonly major: number;
  readonly minor: number;
  readonly build: number;
}

/**
 * An ATTESTATION_REPORT, field by field under the ABI's names. Parsed, not trusted.
 * TCB versions stay 8 raw bytes: which layout they have is for the product to say.
 */
export interface SnpReport {
  /** All 1184 bytes. */
  readonly bytes: Uint8Array;
  /** Bytes 0 to 0x29F: what the signature covers. */
  readonly signed: Uint8Array;
  readonly version: number;
  readonly guestSvn: number;
  readonly guestPolicy: bigint;
  /** 16 bytes. */
  readonly familyId: Uint8Array;
  /** 16 bytes. */
  readonly imageId: Uint8Array;
  readonly vmpl: number;
  readonly signatureAlgo: number;
  readonly platformInfo: bigint;
  readonly keyInfo: {
    readonly raw: number;
    readonly authorKeyEn: boolean;
    readonly maskChipKey: boolean;
    readonly signingKey: SigningKey;
  };
  /** 64 bytes. */
  readonly reportData: Uint8Array;
  /** 48 bytes. */
  readonly measurement: Uint8Array;
  /** 32 bytes. */
  readonly hostData: Uint8Array;
  /** 48 bytes. */
  readonly idKeyDigest: Uint8Array;
  /** 48 bytes. */
  readonly authorKeyDigest: Uint8Array;
  /** 32 bytes. */
  readonly reportId: Uint8Array;
  /** 32 bytes, all FF where no migration agent is bound. */
  readonly reportIdMa: Uint8Array;
  /** 64 bytes. */
  readonly chipId: Uint8Array;
  /** Undefined before version 3. */
  readonly cpuid: Cpuid | undefined;
  readonly currentTcb: Uint8Array;
  readonly reportedTcb: Uint8Array;
  readonly committedTcb: Uint8Array;
  readonly launchTcb: Uint8Array;
  readonly currentFirmware: FirmwareVersion;
  readonly committedFirmware: FirmwareVersion;
  /** Zero before version 5. */
  readonly launchMitVector: bigint;
  /** Zero before version 5. */
  readonly currentMitVector: bigint;
  /** 72 bytes, little-endian. */
  readonly signatureR: Uint8Array;
  /** 72 bytes, little-endian. */
  readonly signatureS: Uint8Array;
}

/**
 * Parses a report of any version: the fields of a version that is not understood are read for
 * display, and refused by verify.
 * @throws CvmpError MALFORMED unless it is exactly 1184 bytes
 */
export function parseReport(report: Uint8Array): SnpReport {
  if (report.length !== reportLength) {
    throw new CvmpError(
      'MALFORMED',
      `an attestation report has ${reportLength} bytes, this has ${report.length}`,
      { field: 'report' },
    );
  }
  // A copy even of a Buffer, whose own slice shares its memory.
  const bytes = new Uint8Array(report);
  const at = (name: ReportFieldName) =>
    new ByteReader(bytes, 'little', { offset: reportFields[name].offset });
  const u8 = (name: ReportFieldName) => at(name).u8(name);
  const u32 = (name: ReportFieldName) => at(name).u32(name);
  const u64 = (name: ReportFieldName) => at(name).u64(name);
  const raw = (name: ReportFieldName) => at(name).take(reportFields[name].length, name);
  const signature = ({ offset, length }: { offset: number; length: number }) =>
    bytes.slice(offset, offset + length);

  const version = u32('VERSION');
  return {
    bytes,
    signed: bytes.subarray(0, signedLength),
    version,
    guestSvn: u32('GUEST_SVN'),
    guestPolicy: u64('POLICY'),
    familyId: raw('FAMILY_ID'),
    imageId: raw('IMAGE_ID'),
    vmpl: u32('VMPL'),
    signatureAlgo: u32('SIGNATURE_ALGO'),
    platformInfo: u64('PLATFORM_INFO'),
    keyInfo: decodeKeyInfo(u32('KEY_INFO')),
    reportData: raw('REPORT_DATA'),
    measurement: raw('MEASUREMENT'),
    hostData: raw('HOST_DATA'),
    idKeyDigest: raw('ID_KEY_DIGEST'),
    authorKeyDigest: raw('AUTHOR_KEY_DIGEST'),
    reportId: raw('REPORT_ID'),
    reportIdMa: raw('REPORT_ID_MA'),
    chipId: raw('CHIP_ID'),
    cpuid:
      version < cpuidVersion
        ? undefined
        : { family: u8('CPUID_FAM_ID'), model: u8('CPUID_MOD_ID'), stepping: u8('CPUID_STEP') },
    currentTcb: raw('CURRENT_TCB'),
    reportedTcb: raw('REPORTED_TCB'),
    committedTcb: raw('COMMITTED_TCB'),
    launchTcb: raw('LAUNCH_TCB'),
    currentFirmware: {
      major: u8('CURRENT_MAJOR'),
      minor: u8('CURRENT_MINOR'),
      build: u8('CURRENT_BUILD'),
    },
    committedFirmware: {
      major: u8('COMMITTED_MAJOR'),
      minor: u8('COMMITTED_MINOR'),
      build: u8('COMMITTED_BUILD'),
    },
    launchMitVector: u64('LAUNCH_MIT_VECTOR'),
    currentMitVector: u64('CURRENT_MIT_VECTOR'),
    signatureR: signature(signatureFields.R),
    signatureS: signature(signatureFields.S),
  };
}

function decodeKeyInfo(raw: number): SnpReport['keyInfo'] {
  const signer = (raw >>> keyInfoBits.signingKeyShift) & keyInfoBits.signingKeyMask;
  return {
    raw,
    authorKeyEn: (raw & keyInfoBits.authorKeyEn) !== 0,
    maskChipKey: (raw & keyInfoBits.maskChipKey) !== 0,
    signingKey: (signingKeys as Readonly<Record<number, SigningKey>>)[signer] ?? 'reserved',
  };
}
