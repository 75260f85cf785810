/** Sizes and constants of a TDX Quote (Intel TDX DCAP Quoting Library API, appendix 3). */

export const headerLength = 48;
/** Raw r || s on P-256. */
export const signatureLength = 64;
/** X || Y on P-256, without the 04. */
export const attestationKeyLength = 64;
/** SGX REPORTBODY of the Quoting Enclave. */
export const qeReportLength = 384;

/** Attestation key type 2: ECDSA-256-with-P-256. Type 3 (P-384) is defined but not deployed. */
export const ecdsaP256 = 2;
/** TEE type of TDX; 0 is SGX. */
export const teeTypeTdx = 0x81;
/** Intel's Quoting Enclave. */
export const intelQeVendorId = '939a7233f79c4ca9940a0db3957f0607';

/** What a quote's body is: TD report of TDX 1.0 (584 bytes) or TDX 1.5 (648 bytes). */
export type BodyType = 'TD 1.0' | 'TD 1.5';

export const bodyLength: Record<BodyType, number> = { 'TD 1.0': 584, 'TD 1.5': 648 };

/** Body types of the version 5 descriptor; 1 is an SGX enclave report. */
export const bodyTypes: Readonly<Record<number, BodyType>> = { 2: 'TD 1.0', 3: 'TD 1.5' };

/** Certification data: the QE report with all that belongs to it. */
export const qeReportCertification = 6;
/** Certification data inside of it: the PCK certificate chain as PEM. */
export const pckChainCertification = 5;

/** No quote is longer; a chain of three certificates needs 5 kB. */
export const quoteBytesMax = 64 * 1024;

/** Bits of TDATTRIBUTES (TDX Module ABI, ATTRIBUTES). */
export const tdAttribute = {
  debug: 1n << 0n,
  septVeDisable: 1n << 28n,
  migratable: 1n << 29n,
  protectionKeys: 1n << 30n,
  keyLocker: 1n << 31n,
  performanceMonitoring: 1n << 63n,
} as const;

/** TUD byte: bits that put the TD under debug; any of them makes it untrusted. */
export const tdUnderDebug = 0xffn;

/** Bits that have a meaning; all others are reserved and must be zero. */
export const tdAttributesKnown =
  tdAttribute.debug |
  tdAttribute.septVeDisable |
  tdAttribute.migratable |
  tdAttribute.protectionKeys |
  tdAttribute.keyLocker |
  tdAttribute.performanceMonitoring;

/** XFAM bits that every TD has set: x87 and SSE. */
export const xfamFixed1 = 0x3n;
/** XFAM bits that a TD may have set at all. */
export const xfamAllowed = 0x6dbe7n;
