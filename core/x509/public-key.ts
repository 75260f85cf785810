import { DerReader, derError, readDer } from '../asn1/read.js';
import { tag } from '../asn1/tags.js';
import { bitStringBytes, nullValue, oid, unsignedBytes } from '../asn1/values.js';
import { coordinateLength, type EcCurve } from '../crypto.js';

/** What kind of key a SubjectPublicKeyInfo holds. */
export type PublicKeyKind =
  | { readonly kind: 'ec'; readonly curve: EcCurve; readonly point: Uint8Array }
  | { readonly kind: 'rsa'; readonly modulusBits: number }
  | { readonly kind: 'other'; readonly oid: string };

/** Smaller RSA keys can be factored, or will be (SP 800-131A). */
export const rsaBitsMin = 2048;

/** Whether a key is RSA, and no smaller than RSA keys must be today. */
export function isStrongRsa(key: PublicKeyKind): boolean {
  return key.kind === 'rsa' && key.modulusBits >= rsaBitsMin;
}

const ecPublicKey = '1.2.840.10045.2.1';
const rsaEncryption = '1.2.840.113549.1.1.1';
const curves: Readonly<Record<string, EcCurve>> = {
  '1.2.840.10045.3.1.7': 'P-256',
  '1.3.132.0.34': 'P-384',
};

/**
 * Reads the next element as a SubjectPublicKeyInfo (RFC 5280 s.4.1.2.7, RFC 5480, RFC 8017).
 * @returns the key and its DER as received
 * @throws CvmpError MALFORMED, NOT_CANONICAL
 */
export function readPublicKey(reader: DerReader): { spki: Uint8Array; key: PublicKeyKind } {
  const element = reader.element(tag.sequence, 'subjectPublicKeyInfo');
  const inner = reader.reader(element);
  const algorithm = inner.sequence('algorithm');
  const id = oid(algorithm.any('algorithm'));
  const bits = inner.element(tag.bitString, 'subjectPublicKey');
  inner.end();
  return { spki: element.encoded, key: readKind(id, algorithm, bitStringBytes(bits), bits.path) };
}

/**
 * Reads a SubjectPublicKeyInfo that stands by itself, as in a PUBLIC KEY file (RFC 7468 s.13).
 * @throws CvmpError MALFORMED, NOT_CANONICAL
 */
export function readPublicKeyInfo(der: Uint8Array, path: string): PublicKeyKind {
  const outer = new DerReader(der, path);
  const { key } = readPublicKey(outer);
  outer.end();
  return key;
}

function readKind(
  id: string,
  algorithm: DerReader,
  bytes: Uint8Array,
  path: string,
): PublicKeyKind {
  if (id === rsaEncryption) {
    nullValue(algorithm.any('parameters'));
    algorithm.end();
    return readDer(bytes, path, (rsa) => {
      const modulus = unsignedBytes(rsa.any('modulus'));
      const exponent = unsignedBytes(rsa.any('publicExponent'));
      if (exponent.length > 8 || (exponent[exponent.length - 1]! & 1) === 0 || !above1(exponent)) {
        throw derError('MALFORMED', path, 'has an RSA exponent that is even or too large');
      }
      const modulusBits = 8 * (modulus.length - 1) + (32 - Math.clz32(modulus[0]!));
      return { kind: 'rsa', modulusBits };
    });
  }
  if (id === ecPublicKey) {
    const curve = curves[oid(algorithm.any('namedCurve'))];
    algorithm.end();
    if (curve === undefined) return { kind: 'other', oid: id };
    if (bytes[0] !== 4 || bytes.length !== 1 + 2 * coordinateLength[curve]) {
      throw derError('MALFORMED', path, `is not an uncompressed ${curve} point`);
    }
    return { kind: 'ec', curve, point: bytes };
  }
  return { kind: 'other', oid: id };
}

function above1(bytes: Uint8Array): boolean {
  return bytes.length > 1 || bytes[0]! > 1;
}
