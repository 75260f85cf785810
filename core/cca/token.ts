import { decode } from '../cbor/decode.js';
import { encode } from '../cbor/encode.js';
import { asMap } from '../cbor/read.js';
import { type CborValue, Tag } from '../cbor/value.js';
import { type CoseSign1, parseSign1 } from '../cose/sign1.js';
import { CvmpError } from '../errors.js';
import { type PlatformClaims, readPlatformClaims } from './platform.js';
import { type RealmClaims, readRealmClaims } from './realm.js';

/** An Arm CCA attestation token (draft-ffm-rats-cca-token s.4). Parsed, not trusted. */
export interface CcaToken {
  readonly platform: { readonly message: CoseSign1; readonly claims: PlatformClaims };
  readonly realm: { readonly message: CoseSign1; readonly claims: RealmClaims };
}

/** CBOR tag of the collection. */
const collectionTag = 399;
const signTag = 18;
const platformLabel = 44234;
const realmLabel = 44241;

const bytesMax = 64 * 1024;

/**
 * Parses a token with both of its parts. Its makers do not promise deterministic CBOR; ambiguous
 * CBOR is refused all the same.
 * @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION (profile), UNSUPPORTED_ALGORITHM
 */
export function parseCcaToken(bytes: Uint8Array): CcaToken {
  const value = decode(bytes, {
    field: 'cca_token',
    tags: [collectionTag, signTag],
    canonical: false,
    maxBytes: bytesMax,
  });
  if (!(value instanceof Tag) || value.tag !== collectionTag) {
    throw new CvmpError('MALFORMED', `the token lacks its CBOR tag ${collectionTag}`, {
      field: 'cca_token',
    });
  }
  const collection = asMap(value.value, 'cca_token');
  for (const key of collection.keys()) {
    if (key === platformLabel || key === realmLabel) continue;
    throw new CvmpError('MALFORMED', `the token has a member ${key}`, { field: 'cca_token' });
  }
  const platform = readMember(collection.get(platformLabel), 'cca_platform_token');
  const realm = readMember(collection.get(realmLabel), 'cca_realm_token');
  return {
    platform: { message: platform.message, claims: readPlatformClaims(platform.payload) },
    realm: { message: realm.message, claims: readRealmClaims(realm.payload) },
  };
}

/** A COSE_Sign1, in a byte string or as it is. */
function readMember(
  value: CborValue | undefined,
  field: string,
): { message: CoseSign1; payload: Uint8Array } {
  // What is signed are byte strings inside, so that writing the rest again changes nothing.
  const bytes = value instanceof Tag ? encode(value) : value;
  if (!(bytes instanceof Uint8Array)) {
    throw new CvmpError('MALFORMED', `${field} is no COSE_Sign1`, { field });
  }
  const message = parseSign1(bytes, { tag: 'required', canonical: false });
  if (message.payload === null) {
    throw new CvmpError('MALFORMED', `${field} has no payload`, { field });
  }
  return { message, payload: message.payload };
}
