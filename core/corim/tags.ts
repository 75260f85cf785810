import { type DecodeOptions, decode } from '../cbor/decode.js';
import { type CborValue, Tag } from '../cbor/value.js';
import { CvmpError } from '../errors.js';

/** CBOR tags of a CoRIM (draft-ietf-rats-corim s.12.2, and what drafts before -10 used). */
export const tagOf = {
  time: 1,
  sign1: 18,
  uri: 32,
  uuid: 37,
  ipv4: 52,
  ipv6: 54,
  oid: 111,
  /** Wrapper of drafts before -05, around 501 or 502. */
  corim: 500,
  unsignedCorim: 501,
  /** Drafts before -05: around COSE_Sign1. */
  signedCorim: 502,
  coswid: 505,
  comid: 506,
  /** Concise trust anchor stores (draft-ietf-rats-concise-ta-stores). */
  cots: 507,
  tagList: 508,
  ueid: 550,
  svn: 552,
  svnMin: 553,
  pkixBase64Key: 554,
  pkixBase64Cert: 555,
  pkixBase64CertPath: 556,
  keyThumbprint: 557,
  coseKey: 558,
  certThumbprint: 559,
  bytes: 560,
  certPathThumbprint: 561,
  pkixAsn1DerCert: 562,
  maskedRawValue: 563,
  intRange: 564,
  /** Early PSA profiles: implementation id. */
  implementationId: 600,
  /** Early PSA profiles: reference value id. */
  psaRefvalId: 601,
  /** Early CCA profiles: label of the platform configuration. */
  ccaPlatformConfigId: 602,
  /** Comparisons and sets of Intel's profile, which are carried. */
  intelExpression: 60010,
  intelSet: 60020,
  intelSetOfSets: 60021,
} as const;

const tags: readonly number[] = Object.values(tagOf);

/** More than this is no manifest that CVMP reads, bytes. */
export const corimBytesMax = 1 << 20;

/**
 * Decodes one item of a manifest. Makers do not promise deterministic CBOR; ambiguous CBOR is refused
 * all the same, and so is every tag that no draft of CoRIM has.
 * @throws CvmpError MALFORMED, SIZE
 */
export function decodeManifest(bytes: Uint8Array, field: string): CborValue {
  const options: DecodeOptions = { field, canonical: false, tags, maxBytes: corimBytesMax };
  return decode(bytes, options);
}

/** The value below a tag. @throws CvmpError MALFORMED where it is another tag or none */
export function untag(value: CborValue | undefined, tag: number, field: string): CborValue {
  if (value instanceof Tag && value.tag === tag) return value.value;
  throw new CvmpError('MALFORMED', `${field} lacks its CBOR tag ${tag}`, { field });
}
