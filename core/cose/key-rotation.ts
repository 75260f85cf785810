import { equalBytes } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import { decodeMap } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { coseKey, type EcPublicKey, ecPublicKey, readCoseKey, thumbprint } from './key.js';
import { demandQuorum, peekSigned, signTogether } from './quorum.js';

/** A tenant's word that another key is its signing key from now on. */
export interface KeyRotation {
  readonly tenantId: string;
  /** Thumbprint of the key that is replaced, 32 bytes. */
  readonly from: Uint8Array;
  readonly to: EcPublicKey;
  /** Seconds since 1970. */
  readonly issued: number;
}

const typ = 'application/cvmp-key-rotation+cbor';
const key = { tenantId: 1, from: 2, to: 3, issued: 4 } as const;

/** Signs a rotation by both keys: the old one allows it, the new one shows that it is there. */
export function signRotation(
  tenantId: string,
  from: EcPrivateKey,
  to: EcPrivateKey,
  issued: number,
): Promise<Uint8Array> {
  const payload = new Map<number, CborValue>([
    [key.tenantId, tenantId],
    [key.from, thumbprint({ curve: from.curve, point: from.publicPoint })],
    [key.to, coseKey({ curve: to.curve, point: to.publicPoint })],
    [key.issued, issued],
  ]);
  return signTogether([from, to], typ, encode(payload));
}

function read(payload: Uint8Array): KeyRotation {
  return decodeMap(payload, 'rotation', (m) => ({
    tenantId: m.text(key.tenantId, 'tenant_id', { min: 1, max: 63 }),
    from: m.bytes(key.from, 'from', { length: 32 }),
    to: readCoseKey(m.value(key.to, 'to'), 'rotation.to'),
    issued: m.integer(key.issued, 'issued'),
  }));
}

/**
 * Verifies a rotation away from this key.
 * @throws CvmpError SIGNATURE_INVALID, QUORUM, MALFORMED (of another tenant or key), NOT_CANONICAL,
 *   SIZE
 */
export async function openRotation(
  signed: Uint8Array,
  tenantId: string,
  from: EcPublicKey,
): Promise<KeyRotation> {
  const { to } = read(peekSigned(signed, typ).payload);
  const { payload } = await demandQuorum(signed, typ, { signers: [from, to], threshold: 2 });
  const rotation = read(payload);
  if (rotation.tenantId !== tenantId || !equalBytes(rotation.from, thumbprint(from))) {
    throw new CvmpError('MALFORMED', 'the rotation is of another tenant or key');
  }
  return rotation;
}

/**
 * The keys that rotations lead to, the first one included.
 * @throws CvmpError as {@link openRotation}
 */
export async function followRotations(
  first: EcPublicKey,
  tenantId: string,
  rotations: readonly Uint8Array[],
): Promise<readonly EcPublicKey[]> {
  const keys = [ecPublicKey(first.curve, first.point)];
  for (const signed of rotations) {
    keys.push((await openRotation(signed, tenantId, keys.at(-1)!)).to);
  }
  return keys;
}
