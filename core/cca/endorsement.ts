import { equalBytes } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import { decodeMap } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import { coseKey, type EcPublicKey, readCoseKey } from '../cose/key.js';
import { CvmpError } from '../errors.js';
import type { Endorsements } from '../rats/endorsements.js';
import type { PlatformClaims } from './platform.js';

/**
 * The key of a CCA platform (CPAK), as its maker or its owner states it. There is no certificate: that
 * the verifier holds the statement is what makes it trusted, so none is ever taken from evidence.
 */
export interface PlatformKey {
  /** 32 bytes. */
  readonly implementationId: Uint8Array;
  /** 33 bytes. */
  readonly instanceId: Uint8Array;
  readonly key: EcPublicKey;
  /** For messages and records. */
  readonly endorser: string;
  /** True for platforms that are no hardware. */
  readonly simulated: boolean;
}

export const platformKeyType = 'application/vnd.cvmp.cca-platform-key+cbor';

const field = 'cca_platform_key';

/** `{1: implementation id, 2: instance id, 3: COSE_Key, 4: endorser, 5: simulated}` */
export function encodePlatformKey(endorsed: PlatformKey): Uint8Array {
  return encode(
    new Map<number, CborValue>([
      [1, endorsed.implementationId],
      [2, endorsed.instanceId],
      [3, coseKey(endorsed.key)],
      [4, endorsed.endorser],
      [5, endorsed.simulated],
    ]),
  );
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_ALGORITHM */
export function decodePlatformKey(bytes: Uint8Array): PlatformKey {
  return decodeMap(bytes, field, (m) => ({
    implementationId: m.bytes(1, 'implementation_id', { length: 32 }),
    instanceId: m.bytes(2, 'instance_id', { length: 33 }),
    key: readCoseKey(m.value(3, 'key'), `${field}.key`),
    endorser: m.text(4, 'endorser', { min: 1, max: 256 }),
    simulated: m.boolean(5, 'simulated'),
  }));
}

/**
 * The key endorsed for the platform that a token claims to be of.
 * @throws CvmpError AK_UNTRUSTED, and the codes of {@link decodePlatformKey}
 */
export function findPlatformKey(
  { implementationId, instanceId }: PlatformClaims,
  { documents = [] }: Endorsements,
): PlatformKey {
  for (const { mediaType, value } of documents) {
    if (mediaType !== platformKeyType) continue;
    const endorsed = decodePlatformKey(value);
    const isOf =
      equalBytes(endorsed.implementationId, implementationId) &&
      equalBytes(endorsed.instanceId, instanceId);
    if (isOf) return endorsed;
  }
  throw new CvmpError('AK_UNTRUSTED', 'no key is endorsed for this CCA platform', { field });
}
