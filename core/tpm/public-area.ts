import { crypto } from '#crypto';
import * as der from '../asn1/write.js';
import { ByteReader, concat, toHex } from '../bytes.js';
import { coordinateLength, ecSpki, type HashName } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { rsaBitsMin } from '../x509/public-key.js';
import { sized } from './attest.js';
import { algorithm, curves, hashAlgorithms, objectAttribute } from './layout.js';

/** A TPMT_PUBLIC (TPM 2.0 Part 2, 12.2.4). Parsed, not trusted. */
export interface PublicArea {
  readonly attributes: number;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** nameAlg || digest: the TPM's own name of the object. */
  readonly name: Uint8Array;
  readonly nameHash: HashName;
}

const field = 'public_area';
const bytesMax = 1024;
const defaultExponent = 65537;

/** @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_ALGORITHM */
export function parsePublicArea(bytes: Uint8Array): PublicArea {
  if (bytes.length > bytesMax) throw new CvmpError('SIZE', `TPMT_PUBLIC of ${bytes.length} bytes`);
  const reader = new ByteReader(bytes, 'big');
  const type = reader.u16(field);
  const nameAlg = reader.take(2, field);
  const nameHash = hashAlgorithms[(nameAlg[0]! << 8) | nameAlg[1]!];
  const attributes = reader.u32(field);
  sized(reader, field);
  if (nameHash === undefined || nameHash === 'sha1') throw unsupported(`name ${toHex(nameAlg)}`);
  const spki = readKey(reader, type);
  reader.end(field);
  const name = concat(nameAlg, crypto.hash(nameHash, bytes));
  return { attributes, spki, name, nameHash };
}

/**
 * Whether a key signs only what its TPM made: restricted, made there and bound to it
 * (TPM 2.0 Part 1, 23.5). Any other key signs whatever quote its owner writes.
 */
export function isAttestationKey({ attributes }: PublicArea): boolean {
  const { fixedTpm, sensitiveDataOrigin, restricted, sign, decrypt } = objectAttribute;
  const needed = fixedTpm | sensitiveDataOrigin | restricted | sign;
  return (attributes & needed) === needed && (attributes & decrypt) === 0;
}

function readKey(reader: ByteReader, type: number): Uint8Array {
  if (type !== algorithm.rsa && type !== algorithm.ecc) throw unsupported(`type ${type}`);
  // TPMT_SYM_DEF_OBJECT
  if (reader.u16(field) !== algorithm.null) reader.take(4, field);
  const scheme = reader.u16(field);
  if (scheme !== algorithm.null) reader.take(scheme === algorithm.ecdaa ? 4 : 2, field);
  if (type === algorithm.rsa) {
    const bits = reader.u16(field);
    const exponent = reader.u32(field);
    const modulus = sized(reader, field);
    if (8 * modulus.length !== bits) {
      throw new CvmpError('MALFORMED', `${modulus.length} bytes of a ${bits}-bit modulus`, {
        field,
      });
    }
    if (bits < rsaBitsMin) throw unsupported(`size: RSA of ${bits} bits`);
    return rsaSpki(modulus, exponent === 0 ? defaultExponent : exponent);
  }
  const curve = curves[reader.u16(field)];
  if (reader.u16(field) !== algorithm.null) reader.take(2, field);
  if (curve === undefined) throw unsupported('curve');
  const length = coordinateLength[curve];
  const [x, y] = [sized(reader, field), sized(reader, field)];
  if (x.length > length || y.length > length) {
    throw new CvmpError('MALFORMED', 'a coordinate is too long', { field });
  }
  const padded = (bytes: Uint8Array) => concat(new Uint8Array(length - bytes.length), bytes);
  return ecSpki(curve, concat(Uint8Array.of(4), padded(x), padded(y)));
}

/** DER SubjectPublicKeyInfo of an RSA key (RFC 8017 A.1.1). */
export function rsaSpki(modulus: Uint8Array, exponent: number | Uint8Array): Uint8Array {
  return der.sequence(
    der.sequence(der.oid('1.2.840.113549.1.1.1'), der.nullValue()),
    der.bitString(der.sequence(der.integer(modulus), der.integer(exponent))),
  );
}

function unsupported(what: string): CvmpError {
  return new CvmpError('UNSUPPORTED_ALGORITHM', `TPM object of unsupported ${what}`, { field });
}
