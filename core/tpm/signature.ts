import { ByteReader, concat } from '../bytes.js';
import { coordinateLength, type HashName, type SignatureAlgorithm } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { sized } from './attest.js';
import { algorithm, hashAlgorithms, signatureSchemes } from './layout.js';

/** A signature of a TPM as {@link Crypto.verify} takes it. */
export interface TpmSignature {
  readonly algorithm: SignatureAlgorithm;
  /** Hash of the scheme; also what pcrDigest is made with. */
  readonly hash: HashName;
  /** Raw r || s, or the RSA signature. */
  readonly bytes: Uint8Array;
}

const field = 'signature';

/**
 * Parses a TPMT_SIGNATURE (TPM 2.0 Part 2, 11.3.4).
 * @throws CvmpError MALFORMED, UNSUPPORTED_SIGNATURE_ALGO (SHA-1, or no RSA and no ECDSA)
 */
export function parseTpmSignature(bytes: Uint8Array): TpmSignature {
  const reader = new ByteReader(bytes, 'big');
  const scheme = reader.u16(field);
  const hashId = reader.u16(field);
  const row = signatureSchemes.find(
    (known) => known.scheme === scheme && known.hash === hashAlgorithms[hashId],
  );
  if (row === undefined) {
    const found = [scheme, hashId].map((id) => `0x${id.toString(16)}`).join(' with ');
    throw new CvmpError('UNSUPPORTED_SIGNATURE_ALGO', `the TPM signed by ${found}`, { field });
  }
  const signature =
    scheme === algorithm.ecdsa
      ? readEcdsa(reader, row.hash === 'sha256' ? coordinateLength['P-256'] : 48)
      : sized(reader, field);
  reader.end(field);
  return { algorithm: row.algorithm, hash: row.hash, bytes: signature };
}

/** An RSASSA signature with SHA-256 without the structure around it, as Azure stores it. */
export function rawRsaSignature(bytes: Uint8Array): TpmSignature {
  return { algorithm: 'RS256', hash: 'sha256', bytes };
}

function readEcdsa(reader: ByteReader, length: number): Uint8Array {
  return concat(leftPad(sized(reader, field), length), leftPad(sized(reader, field), length));
}

function leftPad(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length > length) {
    throw new CvmpError('MALFORMED', `the signature has a value of ${bytes.length} bytes`, {
      field,
    });
  }
  return concat(new Uint8Array(length - bytes.length), bytes);
}
