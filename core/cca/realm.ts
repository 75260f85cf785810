import { decode } from '../cbor/decode.js';
import { asBytes } from '../cbor/read.js';
import { type EcPublicKey, ecPublicKey, readCoseKey } from '../cose/key.js';
import { coordinateLength, type HashName } from '../crypto.js';
import { ClaimSet, hashLength } from './claim-set.js';

/** Claims of the realm part (draft-ffm-rats-cca-token s.4.6). */
export interface RealmClaims {
  /** 64 bytes by the guest. */
  readonly challenge: Uint8Array;
  /** 64 bytes by the host (RPV); CVMP: SHA-512 of the config document. */
  readonly personalizationValue: Uint8Array;
  /** Launch measurement (RIM), of the length of the hash. */
  readonly initialMeasurement: Uint8Array;
  /** Extensible measurements REM0 to REM3. */
  readonly extensibleMeasurements: readonly Uint8Array[];
  readonly hash: HashName;
  /** Hash of the platform's challenge over the key. */
  readonly publicKeyHash: HashName;
  /** The claim as it is: what the platform's challenge is the digest of. */
  readonly publicKeyBytes: Uint8Array;
  readonly publicKey: EcPublicKey;
}

const claim = {
  challenge: 10,
  profile: 265,
  personalizationValue: 44235,
  hash: 44236,
  publicKey: 44237,
  initialMeasurement: 44238,
  extensibleMeasurements: 44239,
  publicKeyHash: 44240,
} as const;

const profiles = [/^tag:arm\.com,20\d\d:realm#1\.\d+\.\d+$/];
const registers = 4;
const keyBytesMax = 512;

/** @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION, UNSUPPORTED_ALGORITHM */
export function readRealmClaims(payload: Uint8Array): RealmClaims {
  const field = 'cca_realm';
  const claims = new ClaimSet(payload, field);
  // Older tokens have no profile here; the platform's says how to read both.
  if (claims.has(claim.profile)) claims.requireProfile(claim.profile, profiles);
  const hash = claims.hash(claim.hash, 'hash_algo_id');
  const length = hashLength[hash];
  const publicKeyBytes = claims.bytes(claim.publicKey, 'public_key', { max: keyBytesMax });
  return {
    challenge: claims.bytes(claim.challenge, 'challenge', { length: 64 }),
    personalizationValue: claims.bytes(claim.personalizationValue, 'personalization_value', {
      length: 64,
    }),
    initialMeasurement: claims.bytes(claim.initialMeasurement, 'initial_measurement', { length }),
    extensibleMeasurements: claims.list(
      claim.extensibleMeasurements,
      'extensible_measurements',
      { length: registers },
      (item) => asBytes(item, `${field}.extensible_measurement`, { length }),
    ),
    hash,
    publicKeyHash: claims.hash(claim.publicKeyHash, 'public_key_hash_algo_id'),
    publicKeyBytes,
    publicKey: readPublicKey(publicKeyBytes),
  };
}

/** Older tokens carry a bare P-384 point, newer ones a COSE_Key. */
function readPublicKey(bytes: Uint8Array): EcPublicKey {
  const field = 'cca_realm.public_key';
  const pointLength = 1 + 2 * coordinateLength['P-384'];
  if (bytes.length === pointLength && bytes[0] === 4) return ecPublicKey('P-384', bytes);
  return readCoseKey(decode(bytes, { field, canonical: false }), field);
}
