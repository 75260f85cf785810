import type { EcCurve, SignatureAlgorithm } from '../crypto.js';
import { CvmpError } from '../errors.js';

/** A signature algorithm on one curve. */
export interface CoseSignatureAlgorithm {
  /** IANA COSE Algorithms value. */
  readonly id: number;
  readonly name: string;
  readonly curve: EcCurve;
  readonly primitive: SignatureAlgorithm;
}

/** A content encryption algorithm; iv 12 bytes, tag 16 bytes at the end of the ciphertext. */
export interface CoseAeadAlgorithm {
  readonly id: number;
  readonly name: string;
  /** Bytes. */
  readonly keyLength: number;
}

/** RFC 9053 s.2.1 as CVMP uses it (each hash with its own curve), and RFC 9864 s.2.1. */
export const signatureAlgorithms: readonly CoseSignatureAlgorithm[] = [
  { id: -7, name: 'ES256', curve: 'P-256', primitive: 'ES256' },
  { id: -9, name: 'ESP256', curve: 'P-256', primitive: 'ES256' },
  { id: -35, name: 'ES384', curve: 'P-384', primitive: 'ES384' },
  { id: -51, name: 'ESP384', curve: 'P-384', primitive: 'ES384' },
];

/** RFC 9053 s.4.1. */
export const aeadAlgorithms: readonly CoseAeadAlgorithm[] = [
  { id: 1, name: 'A128GCM', keyLength: 16 },
  { id: 2, name: 'A192GCM', keyLength: 24 },
  { id: 3, name: 'A256GCM', keyLength: 32 },
];

/** @throws CvmpError UNSUPPORTED_ALGORITHM */
export function signatureAlgorithm(id: number | string | undefined): CoseSignatureAlgorithm {
  return known(signatureAlgorithms, id, 'signature');
}

/** @throws CvmpError UNSUPPORTED_ALGORITHM */
export function aeadAlgorithm(id: number | string | undefined): CoseAeadAlgorithm {
  return known(aeadAlgorithms, id, 'content encryption');
}

/** The algorithm that CVMP signs with under a key of this curve: ES256 or ES384. */
export function signingAlgorithm(curve: EcCurve): CoseSignatureAlgorithm {
  return signatureAlgorithms.find((row) => row.curve === curve)!;
}

function known<Row extends { readonly id: number }>(
  table: readonly Row[],
  id: number | string | undefined,
  what: string,
): Row {
  const row = table.find((candidate) => candidate.id === id);
  if (row === undefined) {
    throw new CvmpError('UNSUPPORTED_ALGORITHM', `COSE: no ${what} algorithm ${id ?? '(none)'}`, {
      field: 'alg',
    });
  }
  return row;
}
