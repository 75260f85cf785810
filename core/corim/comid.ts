import { asInteger, type MapReader, readMap } from '../cbor/read.js';
import type { CborMap, CborValue } from '../cbor/value.js';
import { readTagId, readTime, readUri } from './identifiers.js';
import { readTriples, type Triples } from './triples.js';

/** A Concise Module Identifier (draft-ietf-rats-corim s.5). */
export interface Comid {
  readonly kind: 'comid';
  readonly language: string | undefined;
  readonly tagId: TagIdentity;
  readonly entities: readonly Entity[];
  readonly linkedTags: readonly { readonly tagId: string; readonly relation: string }[];
  readonly triples: Triples;
  readonly extensions: CborMap;
}

export interface TagIdentity {
  /** A text, or a UUID in its usual form. */
  readonly id: string;
  readonly version: number;
}

/** Who made or maintains a tag or a manifest. */
export interface Entity {
  readonly name: string;
  readonly uri: string | undefined;
  /** By the names of the draft (`tag-creator`). */
  readonly roles: readonly string[];
}

/** A period; milliseconds since 1970. */
export interface Validity {
  readonly notBefore: number | undefined;
  readonly notAfter: number;
}

export const comidRoles: readonly string[] = ['tag-creator', 'creator', 'maintainer'];
const relations: readonly string[] = ['supplements', 'replaces'];
const listMax = 256;
const nameRule = { min: 1, max: 1024 };

/** Reads the content of a CoMID tag. @throws CvmpError MALFORMED, SIZE */
export function readComid(value: CborValue, field: string): Comid {
  return readMap(value, field, (m) => ({
    kind: 'comid' as const,
    language: m.optional(0, () => m.text(0, 'language', { min: 1, max: 64 })),
    tagId: m.map(1, 'tag-identity', readTagIdentity),
    entities: readEntities(m, 2, comidRoles),
    linkedTags: m.has(3)
      ? m.array(3, 'linked-tags', { min: 1, max: listMax }, (item, path) =>
          readMap(item, path, (link) => ({
            tagId: readTagId(link.value(0, 'linked-tag-id'), link.path('linked-tag-id')),
            relation: named(relations, link.integer(1, 'tag-rel')),
          })),
        )
      : [],
    triples: readTriples(m.value(4, 'triples'), m.path('triples')),
    extensions: m.extensions(),
  }));
}

export function readTagIdentity(m: MapReader): TagIdentity {
  return {
    id: readTagId(m.value(0, 'tag-id'), m.path('tag-id')),
    version: m.optional(1, () => m.integer(1, 'tag-version')) ?? 0,
  };
}

/** @param roles names by number */
export function readEntities(
  m: MapReader,
  key: number,
  roles: readonly string[],
): readonly Entity[] {
  if (!m.has(key)) return [];
  return m.array(key, 'entities', { min: 1, max: listMax }, (item, path) =>
    readMap(item, path, (entity) => {
      const read = {
        name: entity.text(0, 'entity-name', nameRule),
        uri: entity.optional(1, () => readUri(entity.value(1, 'reg-id'), entity.path('reg-id'))),
        roles: entity.array(2, 'role', { min: 1, max: listMax }, (role, at) =>
          named(roles, asInteger(role, at, { min: -0x8000_0000 })),
        ),
      };
      entity.extensions();
      return read;
    }),
  );
}

/** @throws CvmpError MALFORMED, SIZE */
export function readValidity(value: CborValue, field: string): Validity {
  return readMap(value, field, (m) => ({
    notBefore: m.optional(0, () => readTime(m.value(0, 'not-before'), m.path('not-before'))),
    notAfter: readTime(m.value(1, 'not-after'), m.path('not-after')),
  }));
}

/** A profile may add numbers; they are shown as such. */
function named(names: readonly string[], number: number): string {
  return names[number] || String(number);
}
