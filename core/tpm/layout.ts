import type { EcCurve, HashName, SignatureAlgorithm } from '../crypto.js';

/** Constants of the TPM 2.0 Library, Part 2. All integers are big-endian. */

/** TPM_GENERATED_VALUE: a restricted key signs it only in what the TPM itself made. */
export const tpmGenerated = 0xff544347;
/** TPM_ST_ATTEST_QUOTE. */
export const attestQuote = 0x8018;

/** TPM_ALG_ID of hash algorithms. */
export const hashAlgorithms: Readonly<Record<number, 'sha1' | HashName>> = {
  4: 'sha1',
  11: 'sha256',
  12: 'sha384',
  13: 'sha512',
};

export const algorithm = {
  rsa: 0x0001,
  null: 0x0010,
  rsassa: 0x0014,
  rsapss: 0x0016,
  ecdsa: 0x0018,
  ecdaa: 0x001a,
  ecc: 0x0023,
} as const;

/** Signature schemes with their hash, as CVMP verifies them. SHA-1 is not among them. */
export const signatureSchemes: readonly {
  readonly scheme: number;
  readonly hash: HashName;
  readonly algorithm: SignatureAlgorithm;
}[] = [
  { scheme: algorithm.rsassa, hash: 'sha256', algorithm: 'RS256' },
  { scheme: algorithm.rsassa, hash: 'sha384', algorithm: 'RS384' },
  { scheme: algorithm.rsapss, hash: 'sha256', algorithm: 'PS256' },
  { scheme: algorithm.rsapss, hash: 'sha384', algorithm: 'PS384' },
  { scheme: algorithm.ecdsa, hash: 'sha256', algorithm: 'ES256' },
  { scheme: algorithm.ecdsa, hash: 'sha384', algorithm: 'ES384' },
];

/** TPM_ECC_CURVE. */
export const curves: Readonly<Record<number, EcCurve>> = { 3: 'P-256', 4: 'P-384' };

/** TPMA_OBJECT. */
export const objectAttribute = {
  fixedTpm: 1 << 1,
  fixedParent: 1 << 4,
  sensitiveDataOrigin: 1 << 5,
  restricted: 1 << 16,
  decrypt: 1 << 17,
  sign: 1 << 18,
} as const;

/** A TPM has at most 24 PCRs that a PC Client TPM must have. */
export const pcrCount = 24;
