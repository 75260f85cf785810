import { type DerReader, derError, readDer } from '../asn1/read.js';
import { nullValue, oid, unsignedBytes, unsignedInteger } from '../asn1/values.js';
import { concat } from '../bytes.js';
import {
  coordinateLength,
  type EcCurve,
  type HashName,
  type SignatureAlgorithm,
} from '../crypto.js';

/** What an AlgorithmIdentifier of a signature says. */
export interface SignatureScheme {
  /** As dotted OID, for messages. */
  readonly oid: string;
  /** Undefined where it is none that CVMP verifies; such a signature verifies nothing. */
  readonly algorithm: SignatureAlgorithm | undefined;
}

const rsassaPss = '1.2.840.113549.1.1.10';
const mgf1 = '1.2.840.113549.1.1.8';

const hashOids: Readonly<Record<string, HashName>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};

/** Algorithms that are their OID alone; RSA ones carry NULL, ECDSA ones nothing. */
const plain: Readonly<
  Record<string, { algorithm: SignatureAlgorithm; parameters: 'null' | 'none' }>
> = {
  '1.2.840.113549.1.1.11': { algorithm: 'RS256', parameters: 'null' },
  '1.2.840.113549.1.1.12': { algorithm: 'RS384', parameters: 'null' },
  '1.2.840.10045.4.3.2': { algorithm: 'ES256', parameters: 'none' },
  '1.2.840.10045.4.3.3': { algorithm: 'ES384', parameters: 'none' },
};

/** RSASSA-PSS is taken only with salt length = hash length (RFC 4055 s.3.1 recommends it). */
const pss: Readonly<Partial<Record<HashName, { algorithm: SignatureAlgorithm; salt: number }>>> = {
  sha256: { algorithm: 'PS256', salt: 32 },
  sha384: { algorithm: 'PS384', salt: 48 },
};

const curveOfAlgorithm: Partial<Record<SignatureAlgorithm, EcCurve>> = {
  ES256: 'P-256',
  ES384: 'P-384',
};

/**
 * Reads an AlgorithmIdentifier (RFC 5280 s.4.1.1.2) whose SEQUENCE `reader` has entered.
 * An algorithm that is not in the tables is read as such, not refused: who verifies decides.
 * @throws CvmpError MALFORMED, NOT_CANONICAL
 */
export function readSignatureScheme(reader: DerReader): SignatureScheme {
  const id = oid(reader.any('algorithm'));
  if (id === rsassaPss) {
    const algorithm = readPss(reader.sequence('parameters'));
    reader.end();
    return { oid: id, algorithm };
  }
  const row = plain[id];
  if (row === undefined) return { oid: id, algorithm: undefined };
  if (row.parameters === 'null') nullValue(reader.any('parameters'));
  reader.end();
  return { oid: id, algorithm: row.algorithm };
}

/** RSASSA-PSS-params (RFC 4055 s.3.1). Defaults (SHA-1) are read, and match no algorithm. */
function readPss(reader: DerReader): SignatureAlgorithm | undefined {
  const hash = readHash(reader.optionalExplicit(0, 'hashAlgorithm')?.sequence('hash'));
  const maskOuter = reader.optionalExplicit(1, 'maskGenAlgorithm');
  let maskHash: HashName | undefined;
  if (maskOuter !== undefined) {
    const mask = maskOuter.sequence('mask');
    const isMgf1 = oid(mask.any('algorithm')) === mgf1;
    const inner = mask.sequence('parameters');
    maskHash = isMgf1 ? readHash(inner) : undefined;
    if (isMgf1) mask.end();
    maskOuter.end();
  }
  const saltOuter = reader.optionalExplicit(2, 'saltLength');
  const salt = saltOuter === undefined ? 20 : unsignedInteger(saltOuter.any('salt'), 512);
  saltOuter?.end();
  const trailerOuter = reader.optionalExplicit(3, 'trailerField');
  if (trailerOuter !== undefined) {
    // AMD writes the default value 1 out, which DER forbids; it is in every older VCEK.
    const trailer = trailerOuter.any('trailer');
    if (unsignedInteger(trailer, 255) !== 1) throw derError('MALFORMED', trailer.path, 'is not 1');
    trailerOuter.end();
  }
  reader.end();
  if (hash === undefined || maskHash !== hash) return undefined;
  const row = pss[hash];
  return row?.salt === salt ? row.algorithm : undefined;
}

/** A hash AlgorithmIdentifier; parameters are NULL or absent (RFC 4055 s.2.1 wants both read). */
function readHash(reader: DerReader | undefined): HashName | undefined {
  if (reader === undefined) return undefined;
  const id = oid(reader.any('algorithm'));
  if (!reader.done) nullValue(reader.any('parameters'));
  reader.end();
  return hashOids[id];
}

/**
 * The signature of a certificate or CRL as {@link Crypto.verify} takes it: ECDSA-Sig-Value
 * (RFC 3279 s.2.2.3) becomes raw r || s, RSA stays as it is.
 * @throws CvmpError MALFORMED, NOT_CANONICAL
 */
export function rawSignature(
  algorithm: SignatureAlgorithm,
  signature: Uint8Array,
  path: string,
): Uint8Array {
  const curve = curveOfAlgorithm[algorithm];
  if (curve === undefined) return signature;
  const length = coordinateLength[curve];
  return readDer(signature, path, (reader) =>
    concat(
      leftPad(unsignedBytes(reader.any('r')), length, path),
      leftPad(unsignedBytes(reader.any('s')), length, path),
    ),
  );
}

function leftPad(bytes: Uint8Array, length: number, path: string): Uint8Array {
  if (bytes.length > length) throw derError('MALFORMED', path, `has a value above ${length} bytes`);
  const out = new Uint8Array(length);
  out.set(bytes, length - bytes.length);
  return out;
}
