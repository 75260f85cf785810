import { toHex } from '#core/bytes.js';
import type { CborKey, CborMap, CborValue } from '#core/cbor/value.js';
import { Tag } from '#core/cbor/value.js';
import type { Comid, Entity, TagIdentity, Validity } from '#core/corim/comid.js';
import { type Corim, type CorimTag, parseComid, parseCorim } from '#core/corim/corim.js';
import type { CryptoKey, Digest, Identifier } from '#core/corim/identifiers.js';
import type { Measurement } from '#core/corim/measurement.js';
import { looksSigned, parseSignedCorim, type SignedCorim } from '#core/corim/signed.js';
import type { Environment, KeysTriple, MeasurementsTriple } from '#core/corim/triples.js';
import { CvmpError } from '#core/errors.js';
import type { Tree } from './tree.js';

type Leaf = string | number | boolean | Tree;

/** A manifest of any of the three kinds, read. */
export type ReadCorim =
  | { readonly kind: 'signed'; readonly signed: SignedCorim; readonly corim: Corim }
  | { readonly kind: 'unsigned'; readonly corim: Corim }
  | { readonly kind: 'comid'; readonly comid: Comid };

/** Whether a file begins as a CoRIM does (tags 500 to 502, 506), signed or not. */
export function looksLikeCorim(bytes: Uint8Array): boolean {
  const [first, second, third = 0] = bytes;
  if (first === 0xd9 && second === 0x01) return [0xf4, 0xf5, 0xf6, 0xfa].includes(third);
  return looksSigned(bytes) && kindOf(bytes) === 'signed';
}

function kindOf(bytes: Uint8Array): ReadCorim['kind'] | undefined {
  try {
    return readCorimFile(bytes).kind;
  } catch (error) {
    if (error instanceof CvmpError) return undefined;
    throw error;
  }
}

/** Reads a signed or unsigned manifest, or a bare CoMID. @throws CvmpError MALFORMED, SIZE */
export function readCorimFile(bytes: Uint8Array): ReadCorim {
  if (looksSigned(bytes)) {
    const signed = parseSignedCorim(bytes);
    return { kind: 'signed', signed, corim: signed.corim };
  }
  try {
    return { kind: 'unsigned', corim: parseCorim(bytes) };
  } catch (cause) {
    // Both are maps; a manifest that is wrong should say so as a manifest.
    if (!(cause instanceof CvmpError)) throw cause;
    try {
      return { kind: 'comid', comid: parseComid(bytes) };
    } catch {
      throw cause;
    }
  }
}

/** Every field of a manifest under the draft's name. @throws CvmpError MALFORMED, SIZE */
export function showCorim(bytes: Uint8Array): Tree {
  const read = readCorimFile(bytes);
  if (read.kind === 'comid') return { 'comid (not signed)': comidTree(read.comid) };
  if (read.kind === 'unsigned') return { 'corim (not signed)': corimTree(read.corim) };
  const { signed, corim } = read;
  return {
    'signature (not verified)': some({
      alg: signed.alg ?? 'none',
      kid: signed.kid === undefined ? undefined : toHex(signed.kid),
      'content-type': signed.contentType,
      ...list('signer', signed.signers, ({ name, uri, validity }) =>
        some({ 'signer-name': name, 'signer-uri': uri, ...validityTree(validity) }),
      ),
    }),
    corim: corimTree(corim),
  };
}

function some(members: { readonly [name: string]: Leaf | undefined }): Tree {
  return Object.fromEntries(
    Object.entries(members).filter((entry): entry is [string, Leaf] => entry[1] !== undefined),
  );
}

/** One item under its name; several with their numbers. */
function list<T>(name: string, items: readonly T[], tree: (item: T) => Leaf): Tree {
  if (items.length === 1) return { [name]: tree(items[0]!) };
  return Object.fromEntries(items.map((item, i) => [`${name} ${i + 1}`, tree(item)]));
}

const time = (ms: number) =>
  ms > 253_402_300_799_000 ? 'no end' : new Date(ms).toISOString().replace('.000Z', 'Z');

function validityTree(validity: Validity | undefined): Tree {
  if (validity === undefined) return {};
  const { notBefore, notAfter } = validity;
  return some({
    'not-before': notBefore === undefined ? undefined : time(notBefore),
    'not-after': time(notAfter),
  });
}

function corimTree(corim: Corim): Tree {
  return some({
    id: corim.id,
    profile: corim.profile,
    ...validityTree(corim.validity),
    ...list('entity', corim.entities, entityTree),
    ...list('dependent-rim', corim.dependentRims, ({ hrefs, thumbprints }) =>
      some({
        href: hrefs.join(' '),
        thumbprint: thumbprints.length === 0 ? undefined : thumbprints.map(digest).join(' '),
      }),
    ),
    ...list('tag', corim.tags, tagTree),
    ...extensions(corim.extensions),
  });
}

function tagTree(tag: CorimTag): Leaf {
  switch (tag.kind) {
    case 'comid':
      return { comid: comidTree(tag) };
    case 'tag-list':
      return {
        'tag-list': {
          'tag-id': tagText(tag.tagId),
          ...list('activates', tag.activated, tagText),
          ...validityTree(tag.validity),
        },
      };
    default:
      return { [tag.kind]: `${tag.content.length} bytes, not read` };
  }
}

const tagText = ({ id, version }: TagIdentity) => (version === 0 ? id : `${id} version ${version}`);

function entityTree({ name, uri, roles }: Entity): Tree {
  return some({ name, 'reg-id': uri, role: roles.join(' ') });
}

function comidTree(comid: Comid): Tree {
  const { triples } = comid;
  return some({
    'tag-id': tagText(comid.tagId),
    language: comid.language,
    ...list('entity', comid.entities, entityTree),
    ...list('linked-tag', comid.linkedTags, ({ tagId, relation }) => `${relation} ${tagId}`),
    ...list('reference-triple', triples.reference, measurementsTree),
    ...list('endorsed-triple', triples.endorsed, measurementsTree),
    ...list('identity-triple', triples.identity, keysTree),
    ...list('attest-key-triple', triples.attestKey, keysTree),
    ...list('dependency-triple', triples.dependency, domainTree),
    ...list('membership-triple', triples.membership, domainTree),
    ...list('coswid-triple', triples.coswid, ({ environment, tagIds }) => ({
      environment: environmentText(environment),
      'tag-ids': tagIds.join(' '),
    })),
    ...list('conditional-endorsement-series', triples.endorsementSeries, (series) => ({
      condition: measurementsTree(series.condition),
      ...list('record', series.series, ({ selection, addition }) => ({
        ...list('selection', selection, measurementTree),
        ...list('addition', addition, measurementTree),
      })),
    })),
    ...list('conditional-endorsement', triples.conditionalEndorsements, (record) => ({
      ...list('condition', record.conditions, measurementsTree),
      ...list('endorsement', record.endorsements, measurementsTree),
    })),
    ...extensions(triples.extensions),
    ...extensions(comid.extensions),
  });
}

function measurementsTree({ environment, measurements }: MeasurementsTriple): Tree {
  return {
    environment: environmentText(environment),
    ...list('measurement', measurements, measurementTree),
  };
}

function keysTree({ environment, keys, key, authorizedBy }: KeysTriple): Tree {
  return some({
    environment: environmentText(environment),
    ...list('key', keys, keyText),
    mkey: key === undefined ? undefined : identifierText(key),
    ...list('authorized-by', authorizedBy, keyText),
  });
}

function domainTree({
  domain,
  members,
}: {
  readonly domain: Environment | Identifier;
  readonly members: readonly (Environment | Identifier)[];
}): Tree {
  const text = (one: Environment | Identifier) =>
    'type' in one ? identifierText(one) : environmentText(one);
  return { domain: text(domain), ...list('member', members, text) };
}

function environmentText(environment: Environment): string {
  const { class: named, instance, group } = environment;
  const parts: (readonly [string, string | number | undefined])[] = [
    ['class-id', named?.classId === undefined ? undefined : identifierText(named.classId)],
    ['vendor', named?.vendor],
    ['model', named?.model],
    ['layer', named?.layer],
    ['index', named?.index],
    ['instance', instance === undefined ? undefined : identifierText(instance)],
    ['group', group === undefined ? undefined : identifierText(group)],
  ];
  return parts
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

function measurementTree({ key, values, authorizedBy }: Measurement): Tree {
  const { version, svn, rawValue, intRange } = values;
  return some({
    mkey: key === undefined ? undefined : identifierText(key),
    version: version === undefined ? undefined : version.version,
    svn: svn === undefined ? undefined : `${svn.atLeast ? 'at least ' : ''}${svn.value}`,
    digests: values.digests?.map(digest).join(' '),
    flags:
      values.flags === undefined
        ? undefined
        : [...values.flags].map(([name, set]) => (set ? name : `not ${name}`)).join(', '),
    'raw-value': rawValue === undefined ? undefined : toHex(rawValue.value),
    'raw-value-mask': rawValue?.mask === undefined ? undefined : toHex(rawValue.mask),
    'mac-addr': values.macAddress === undefined ? undefined : toHex(values.macAddress),
    'ip-addr': values.ipAddress === undefined ? undefined : toHex(values.ipAddress),
    'serial-number': values.serialNumber,
    ueid: values.ueid === undefined ? undefined : toHex(values.ueid),
    uuid: values.uuid,
    name: values.name,
    ...list('cryptokey', values.cryptoKeys ?? [], keyText),
    ...(values.integrityRegisters === undefined
      ? {}
      : {
          'integrity-registers': Object.fromEntries(
            [...values.integrityRegisters].map(([register, digests]) => [
              String(register),
              digests.map(digest).join(' '),
            ]),
          ),
        }),
    'int-range':
      intRange === undefined ? undefined : `${intRange.min ?? '-∞'} to ${intRange.max ?? '∞'}`,
    ...list('authorized-by', authorizedBy, keyText),
    ...extensions(values.extensions),
  });
}

const hashNames: Readonly<Record<number, string>> = {
  1: 'sha-256',
  7: 'sha-384',
  8: 'sha-512',
  10: 'sha3-256',
  11: 'sha3-384',
  12: 'sha3-512',
};

function digest({ alg, value }: Digest): string {
  const name = typeof alg === 'number' ? (hashNames[alg] ?? `hash ${alg}`) : alg;
  return `${name}:${toHex(value)}`;
}

function identifierText(id: Identifier): string {
  switch (id.type) {
    case 'key':
      return keyText(id.value);
    case 'psa-refval-id':
      return cborText(id.value);
    default:
      return id.value instanceof Uint8Array ? toHex(id.value) : String(id.value);
  }
}

function keyText({ type, value }: CryptoKey): string {
  if (typeof value === 'string') return `${type} ${value}`;
  if (value instanceof Uint8Array) return `${type} ${toHex(value)}`;
  return `${type} ${'alg' in value ? digest(value) : cborText(value)}`;
}

function extensions(map: CborMap): Tree {
  return Object.fromEntries(
    [...map].map(([key, value]) => [`extension ${String(key)}`, cborText(value)]),
  );
}

/** Something of a profile, in CBOR diagnostic notation. */
function cborText(value: CborValue): string {
  if (value instanceof Uint8Array) return `h'${toHex(value)}'`;
  if (value instanceof Tag) return `${value.tag}(${cborText(value.value)})`;
  if (Array.isArray(value)) return `[${value.map(cborText).join(', ')}]`;
  if (value instanceof Map) {
    const entries = [...(value as ReadonlyMap<CborKey, CborValue>)];
    return `{${entries.map(([key, item]) => `${cborText(key)}: ${cborText(item)}`).join(', ')}}`;
  }
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
