import { asArray, asBytes, asMap, asText, type MapReader, readMap } from '../cbor/read.js';
import { type CborMap, type CborValue, Tag } from '../cbor/value.js';
import { CvmpError } from '../errors.js';
import {
  type Comid,
  type Entity,
  readComid,
  readEntities,
  readTagIdentity,
  readValidity,
  type TagIdentity,
  type Validity,
} from './comid.js';
import { type Digest, readDigest, readProfile, readTagId, readUri } from './identifiers.js';
import { decodeManifest, tagOf, untag } from './tags.js';

/** A Concise Reference Integrity Manifest (draft-ietf-rats-corim s.4). Parsed, not trusted. */
export interface Corim {
  readonly id: string;
  readonly tags: readonly CorimTag[];
  readonly dependentRims: readonly Locator[];
  /** URI, or OID in dotted form. */
  readonly profile: string | undefined;
  readonly validity: Validity | undefined;
  readonly entities: readonly Entity[];
  readonly extensions: CborMap;
}

export interface Locator {
  readonly hrefs: readonly string[];
  readonly thumbprints: readonly Digest[];
}

/** CoSWID and trust anchor stores are carried, not read. */
export type CorimTag =
  | Comid
  | { readonly kind: 'coswid' | 'cots'; readonly content: Uint8Array }
  | {
      readonly kind: 'tag-list';
      readonly tagId: TagIdentity;
      readonly activated: readonly TagIdentity[];
      readonly validity: Validity;
    };

const corimRoles: readonly string[] = ['', 'manifest-creator', 'manifest-signer'];
const tagsMax = 256;

/**
 * Parses an unsigned manifest that fills `bytes`. Drafts before -05 leave tag 501 out, or put tag
 * 500 around it.
 * @throws CvmpError MALFORMED, SIZE
 */
export function parseCorim(bytes: Uint8Array, field = 'corim'): Corim {
  let value = decodeManifest(bytes, field);
  if (value instanceof Tag && value.tag === tagOf.corim) value = value.value;
  if (value instanceof Tag) value = untag(value, tagOf.unsignedCorim, field);
  return readMap(value, field, (m) => readCorim(m));
}

/** Parses a bare CoMID, with or without its tag and byte string. @throws CvmpError MALFORMED, SIZE */
export function parseComid(bytes: Uint8Array, field = 'comid'): Comid {
  const value = decodeManifest(bytes, field);
  if (!(value instanceof Tag)) return readComid(value, field);
  const content = untag(value, tagOf.comid, field);
  return readComid(content instanceof Uint8Array ? decodeManifest(content, field) : content, field);
}

function readCorim(m: MapReader): Corim {
  return {
    id: readTagId(m.value(0, 'id'), m.path('id')),
    tags: m.array(1, 'tags', { min: 1, max: tagsMax }, readTag),
    dependentRims: m.has(2)
      ? m.array(2, 'dependent-rims', { min: 1, max: tagsMax }, readLocator)
      : [],
    profile: m.optional(3, () => readProfile(m.value(3, 'profile'), m.path('profile'))),
    validity: m.optional(4, () => readValidity(m.value(4, 'rim-validity'), m.path('rim-validity'))),
    entities: readEntities(m, 5, corimRoles),
    extensions: m.extensions(),
  };
}

/** A tag around the bytes of its content; early makers put the tag inside of the byte string. */
function readTag(value: CborValue, field: string): CorimTag {
  if (value instanceof Uint8Array) {
    const inner = decodeManifest(value, field);
    if (inner instanceof Tag) return readTagged(inner, field);
  }
  if (value instanceof Tag) return readTagged(value, field);
  throw new CvmpError('MALFORMED', `${field} is no tagged tag`, { field });
}

function readTagged({ tag, value }: Tag, field: string): CorimTag {
  const content = value instanceof Uint8Array ? value : undefined;
  const decoded = () => (content === undefined ? value : decodeManifest(content, field));
  switch (tag) {
    case tagOf.comid:
      return readComid(decoded(), field);
    case tagOf.tagList:
      return readTagList(decoded(), field);
    case tagOf.coswid:
      return { kind: 'coswid', content: asBytes(value, field) };
    case tagOf.cots:
      return { kind: 'cots', content: asBytes(value, field) };
    default:
      throw new CvmpError('MALFORMED', `${field} has CBOR tag ${tag}`, { field });
  }
}

function readTagList(value: CborValue, field: string): CorimTag {
  return readMap(value, field, (m) => ({
    kind: 'tag-list' as const,
    tagId: m.map(0, 'tag-identity', readTagIdentity),
    activated: m.array(1, 'tags-list', { min: 1, max: tagsMax }, (item, path) =>
      readMap(item, path, readTagIdentity),
    ),
    validity: readValidity(m.value(2, 'tl-validity'), m.path('tl-validity')),
  }));
}

function readLocator(value: CborValue, field: string): Locator {
  return readMap(asMap(value, field), field, (m) => {
    const href = m.value(0, 'href');
    const thumbprint = m.optional(1, () => m.value(1, 'thumbprint'));
    const isList = Array.isArray(thumbprint) && Array.isArray(thumbprint[0]);
    const one = thumbprint === undefined ? [] : [thumbprint];
    return {
      hrefs: (Array.isArray(href)
        ? asArray(href, m.path('href'), { min: 1, max: tagsMax })
        : [href]
      )
        .map((item) => readUri(item, m.path('href')))
        .map((uri) => asText(uri, m.path('href'))),
      thumbprints: (isList ? asArray(thumbprint, m.path('thumbprint'), { max: tagsMax }) : one).map(
        (item) => readDigest(item, m.path('thumbprint')),
      ),
    };
  });
}
