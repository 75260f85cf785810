import { crypto } from '#crypto';
import { concat } from '../bytes.js';
import { decode } from '../cbor/decode.js';
import { encode } from '../cbor/encode.js';
import { asBytes, asInteger, asMap } from '../cbor/read.js';
import type { CborMap, CborValue } from '../cbor/value.js';
import { coordinateLength, type EcCurve, ecSpki } from '../crypto.js';
import { CvmpError } from '../errors.js';

/** A public EC key. Whether the point is on its curve shows at first use. */
export interface EcPublicKey {
  readonly curve: EcCurve;
  /** Uncompressed: 04 || X || Y (65 or 97 bytes). */
  readonly point: Uint8Array;
  /** DER SubjectPublicKeyInfo; keep the value, its import is cached by identity. */
  readonly spki: Uint8Array;
}

const curveId: Record<EcCurve, number> = { 'P-256': 1, 'P-384': 2 };
const kty = 1;
const ec2 = 2;
const crv = -1;
const x = -2;
const y = -3;
/** kid, alg, key_ops, Base IV: may be there in a foreign key, are not used. */
const ignored = [2, 3, 4, 5];

/** @param point uncompressed; @throws CvmpError MALFORMED, SIZE */
export function ecPublicKey(curve: EcCurve, point: Uint8Array): EcPublicKey {
  asBytes(point, 'point', { length: 1 + 2 * coordinateLength[curve] });
  if (point[0] !== 4) throw new CvmpError('MALFORMED', 'the EC point is not uncompressed');
  return { curve, point, spki: ecSpki(curve, point) };
}

/** COSE_Key (RFC 9052 s.7, RFC 9053 s.7.1.1) of an EC2 key, with its required members only. */
export function coseKey(key: Pick<EcPublicKey, 'curve' | 'point'>): CborMap {
  const length = coordinateLength[key.curve];
  return new Map<number, CborValue>([
    [kty, ec2],
    [crv, curveId[key.curve]],
    [x, key.point.slice(1, 1 + length)],
    [y, key.point.slice(1 + length)],
  ]);
}

/** {@link coseKey} as deterministic CBOR. */
export function encodeCoseKey(key: Pick<EcPublicKey, 'curve' | 'point'>): Uint8Array {
  return encode(coseKey(key));
}

/**
 * Reads a public COSE_Key: EC2 on P-256 or P-384 with both coordinates. A private member is refused.
 * @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_ALGORITHM
 */
export function readCoseKey(value: CborValue | undefined, field: string): EcPublicKey {
  const map = asMap(value, field);
  const known = [kty, crv, x, y, ...ignored];
  for (const member of map.keys()) {
    if (typeof member !== 'number' || !known.includes(member)) {
      throw new CvmpError('MALFORMED', `${field} has a member ${String(member)}`, { field });
    }
  }
  const keyType = asInteger(map.get(kty), `${field}.kty`);
  const id = asInteger(map.get(crv), `${field}.crv`);
  const curve = (Object.keys(curveId) as EcCurve[]).find((name) => curveId[name] === id);
  if (keyType !== ec2 || curve === undefined) {
    const what = `${field} is not EC2 on P-256 or P-384`;
    throw new CvmpError('UNSUPPORTED_ALGORITHM', what, { field });
  }
  const length = coordinateLength[curve];
  const point = concat(
    new Uint8Array([4]),
    asBytes(map.get(x), `${field}.x`, { length }),
    asBytes(map.get(y), `${field}.y`, { length }),
  );
  return ecPublicKey(curve, point);
}

/** {@link readCoseKey} of an encoded key. */
export function decodeCoseKey(bytes: Uint8Array, field: string): EcPublicKey {
  return readCoseKey(decode(bytes, { field, maxBytes: 1024 }), field);
}

/** COSE Key Thumbprint with SHA-256 (RFC 9679 s.3): 32 bytes, the name of a key all over CVMP. */
export function thumbprint(key: Pick<EcPublicKey, 'curve' | 'point'>): Uint8Array {
  return crypto.hash('sha256', encodeCoseKey(key));
}
