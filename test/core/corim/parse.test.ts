import { describe, expect, test } from 'vitest';
import { encode } from '#core/cbor/encode.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import type { Comid } from '#core/corim/comid.js';
import { parseComid, parseCorim } from '#core/corim/corim.js';
import { CvmpError } from '#core/errors.js';
import {
  comid,
  corim,
  digest,
  environment,
  hashed,
  map,
  measured,
  oid,
  tagged,
  time,
  uuid,
  validity,
} from '../../fakes/corim.js';

const board = environment({ classId: oid('1.2.3.4'), vendor: 'ACME' });
const reference = (...values: Parameters<typeof measured>) =>
  parse(comid([[0, [[board, [measured(...values)]]]]]));

function parse(value: CborValue): Comid {
  return parseComid(encode(value));
}

function onlyTag(bytes: Uint8Array) {
  return parseCorim(bytes).tags[0];
}

describe('CoRIM (draft-ietf-rats-corim s.4)', () => {
  test('s.4.1: id, profile, validity, entities, dependent manifests and tags are read', () => {
    const found = parseCorim(
      corim(
        [tagged(comid([[0, [[board, [measured([[11, 'x']])]]]]])), new Tag(505, digest(1, 9))],
        [
          [2, [map([0, new Tag(32, 'https://a.example')], [1, hashed(digest(3, 32))])]],
          [3, new Tag(32, 'https://profile.example')],
          [4, validity(1, 2)],
          [5, [map([0, 'ACME'], [1, new Tag(32, 'https://acme.example')], [2, [1, 2]])]],
        ],
      ),
    );
    expect(found).toMatchObject({
      id: 'test-corim',
      profile: 'https://profile.example',
      validity: { notBefore: 1000, notAfter: 2000 },
      entities: [{ name: 'ACME', roles: ['manifest-creator', 'manifest-signer'] }],
      dependentRims: [{ hrefs: ['https://a.example'], thumbprints: [{ alg: 1 }] }],
    });
    expect(found.tags.map(({ kind }) => kind)).toEqual(['comid', 'coswid']);
  });

  test('s.4.1.2: a CoSWID is carried, not read', () => {
    expect(onlyTag(corim([new Tag(505, digest(1, 9))]))).toEqual({
      kind: 'coswid',
      content: digest(1, 9),
    });
  });

  test('s.6: a list of active tags is read with its validity', () => {
    const list = map(
      [0, map([0, 'list'])],
      [1, [map([0, uuid(2)], [1, 3])]],
      [2, map([1, time(9)])],
    );
    expect(onlyTag(corim([tagged(list, 508)]))).toMatchObject({
      kind: 'tag-list',
      activated: [{ id: '02020202-0202-0202-0202-020202020202', version: 3 }],
      validity: { notBefore: undefined, notAfter: 9000 },
    });
  });

  const plain = map([0, uuid(1)], [1, [tagged(comid([[0, [[board, [measured([[11, 'x']])]]]]]))]]);
  test.each([
    ['tag 500 around tag 501 (drafts before -05)', new Tag(500, new Tag(501, plain))],
    ['no tag at all (drafts before -05)', plain],
  ])('older form: %s', (_name, value) => {
    expect(parseCorim(encode(value)).id).toBe('01010101-0101-0101-0101-010101010101');
  });

  test('older form: identifiers of early profiles, one measurement without its list, extensions', () => {
    const psa = environment({ classId: new Tag(600, digest(1, 32)), vendor: 'ACME' });
    const refval = new Tag(601, map([1, 'BL'], [4, '2.1.0'], [5, digest(2, 32)]));
    const one = measured(
      [
        [2, [hashed(digest(3, 32))]],
        [-1, 1720782190],
      ],
      refval,
    );
    const entity = map([-1, 'a street'], [0, 'ACME'], [1, 'https://acme.example'], [2, [0]]);
    const content = comid([[0, [[psa, one]]]], [[2, [entity]]]);
    const bytes = encode(
      map([-1, 'foo'], [0, 'id'], [1, [tagged(content)]], [3, 'http://profile.example']),
    );
    const found = parseCorim(bytes);
    expect(found.profile).toBe('http://profile.example');
    expect(found.extensions.get(-1)).toBe('foo');
    const [tag] = found.tags as [Comid];
    const [triple] = tag.triples.reference;
    expect(triple?.environment.class?.classId).toEqual({ type: 'impl-id', value: digest(1, 32) });
    expect(triple?.measurements[0]?.key?.type).toBe('psa-refval-id');
    expect(triple?.measurements[0]?.values.extensions.get(-1)).toBe(1720782190);
  });

  const body = tagged(comid([[0, [[board, [measured([[11, 'x']])]]]]]));
  test.each<[string, CborValue]>([
    ['another tag', new Tag(506, map([0, 'a'], [1, [body]]))],
    ['no id', new Tag(501, map([1, [body]]))],
    ['an id of 15 bytes', new Tag(501, map([0, digest(1, 15)], [1, [body]]))],
    ['no tags', new Tag(501, map([0, 'a'], [1, []]))],
    ['a tag of another kind', new Tag(501, map([0, 'a'], [1, [new Tag(550, digest(1))]]))],
    ['a tag without its CBOR tag', new Tag(501, map([0, 'a'], [1, [map([1, 2])]]))],
    ['validity without its end', new Tag(501, map([0, 'a'], [1, [body]], [4, map([0, time(1)])]))],
    ['an entity without a role', new Tag(501, map([0, 'a'], [1, [body]], [5, [map([0, 'x'])]]))],
    ['a list', [1]],
  ])('refused: %s', (_name, value) => {
    expect(() => parseCorim(encode(value))).toThrow(CvmpError);
  });
});

describe('CoMID (draft-ietf-rats-corim s.5)', () => {
  test('s.5.1: identity, language, entities and linked tags', () => {
    const found = parse(
      comid(
        [[0, [[board, [measured([[11, 'x']])]]]]],
        [
          [0, 'en-GB'],
          [2, [map([0, 'ACME'], [2, [0, 1, 2]])]],
          [3, [map([0, 'other'], [1, 1])]],
        ],
      ),
    );
    expect(found).toMatchObject({
      language: 'en-GB',
      tagId: { id: 'test-comid', version: 0 },
      entities: [{ roles: ['tag-creator', 'creator', 'maintainer'] }],
      linkedTags: [{ tagId: 'other', relation: 'replaces' }],
    });
  });

  test.each<[string, CborValue, object]>([
    ['version', map([0, '1.2'], [1, 16384]), { version: { version: '1.2', scheme: 16384 } }],
    ['digests', [hashed(digest(1))], { digests: [{ alg: 7, value: digest(1) }] }],
  ])('s.5.1.4.5: %s', (name, value, expected) => {
    const key = name === 'version' ? 0 : 2;
    const values = reference([[key, value]]).triples.reference[0]!.measurements[0]!.values;
    expect(values).toMatchObject(expected);
  });

  test.each<[string, CborValue, object]>([
    ['a bare number is exact', 7, { value: 7n, atLeast: false }],
    ['tag 552 is exact', new Tag(552, 7), { value: 7n, atLeast: false }],
    ['tag 553 is the lowest', new Tag(553, 7), { value: 7n, atLeast: true }],
    ['64 bits', new Tag(552, 0xffff_ffff_ffff_ffffn), { value: 0xffff_ffff_ffff_ffffn }],
  ])('s.5.1.4.5.3: svn, %s', (_name, value, svn) => {
    const { values } = reference([[1, value]]).triples.reference[0]!.measurements[0]!;
    expect(values.svn).toMatchObject(svn);
  });

  test.each<[string, [number, CborValue][], Uint8Array | undefined]>([
    ['without a mask', [[4, new Tag(560, digest(1, 4))]], undefined],
    ['with its mask', [[4, new Tag(563, [digest(1, 4), digest(255, 4)])]], digest(255, 4)],
    [
      'with the former mask',
      [
        [4, new Tag(560, digest(1, 4))],
        [5, digest(15, 4)],
      ],
      digest(15, 4),
    ],
  ])('s.5.1.4.5.6: raw value %s', (_name, values, mask) => {
    const { rawValue } = reference(values).triples.reference[0]!.measurements[0]!.values;
    expect(rawValue).toEqual({ value: digest(1, 4), mask });
  });

  test('s.5.1.4.5: flags, addresses, names, keys, registers and ranges', () => {
    const { values, key, authorizedBy } = reference(
      [
        [3, map([0, true], [3, false])],
        [6, digest(1, 6)],
        [7, digest(1, 16)],
        [8, 'sn'],
        [9, digest(1, 17)],
        [10, uuid(9)],
        [11, 'nm'],
        [13, [new Tag(560, digest(5, 2))]],
        [14, map([0, [hashed(digest(1, 32))]], ['b', [['my-alg', digest(2, 3)]]])],
        [15, new Tag(564, [-3, null])],
        [-83, [7, digest(4)]],
      ],
      new Tag(37, uuid(1)),
      [new Tag(557, hashed(digest(1, 32)))],
    ).triples.reference[0]!.measurements[0]!;
    expect(values).toMatchObject({
      serialNumber: 'sn',
      uuid: '09090909-0909-0909-0909-090909090909',
      name: 'nm',
      intRange: { min: -3, max: undefined },
    });
    expect([...(values.flags ?? [])]).toEqual([
      ['is-configured', true],
      ['is-debug', false],
    ]);
    expect([...(values.integrityRegisters?.keys() ?? [])]).toEqual([0, 'b']);
    expect(values.extensions.get(-83)).toEqual([7, digest(4)]);
    expect(key).toEqual({ type: 'uuid', value: '01010101-0101-0101-0101-010101010101' });
    expect(authorizedBy).toHaveLength(1);
  });

  test('s.5.1.4: keys, domains, tags and conditional endorsements', () => {
    const key = new Tag(554, 'MFkw');
    const measurement = measured([[1, 1]]);
    const { triples } = parse(
      comid([
        [1, [[board, [measurement]]]],
        [2, [[board, [key], map([0, 'mkey'])]]],
        [3, [[board, [key]]]],
        [4, [[board, [board]]]],
        [5, [['domain', [3]]]],
        [6, [[board, ['swid', uuid(1)]]]],
        [8, [[[board, [measurement], [key]], [[[measurement], [measurement]]]]]],
        [10, [[[[board, [measurement]]], [[board, [measurement]]]]]],
        [-1, 'a profile'],
      ]),
    );
    expect(triples.endorsed).toHaveLength(1);
    expect(triples.identity[0]).toMatchObject({ key: { value: 'mkey' } });
    expect(triples.attestKey[0]?.keys).toEqual([{ type: 'pkix-base64-key', value: 'MFkw' }]);
    expect(triples.dependency[0]?.members).toHaveLength(1);
    expect(triples.membership[0]).toMatchObject({ domain: { type: 'text', value: 'domain' } });
    expect(triples.coswid[0]?.tagIds).toEqual(['swid', '01010101-0101-0101-0101-010101010101']);
    expect(triples.endorsementSeries[0]?.condition.authorizedBy).toHaveLength(1);
    expect(triples.conditionalEndorsements[0]?.conditions).toHaveLength(1);
    expect(triples.extensions.get(-1)).toBe('a profile');
  });

  const one = measured([[1, 1]]);
  test.each<[string, CborValue]>([
    ['no triples', comid([])],
    ['no identity', map([4, map([0, [[board, [one]]]])])],
    ['an empty environment', comid([[0, [[map(), [one]]]]])],
    ['an empty class', comid([[0, [[map([0, map()]), [one]]]]])],
    ['a member of a class that there is not', comid([[0, [[map([0, map([9, 1])]), [one]]]]])],
    ['no measurement', comid([[0, [[board, []]]]])],
    ['a measurement without values', comid([[0, [[board, [map([0, 1])]]]]])],
    ['empty values', comid([[0, [[board, [measured([])]]]]])],
    ['a negative SVN', comid([[0, [[board, [measured([[1, -1]])]]]]])],
    ['a digest of another length', comid([[0, [[board, [measured([[2, [[1, digest(1)]]]])]]]]])],
    ['a mask alone', comid([[0, [[board, [measured([[5, digest(1, 4)]])]]]]])],
    [
      'a mask of another length',
      comid([[0, [[board, [measured([[4, new Tag(563, [digest(1, 4), digest(1, 3)])]])]]]]]),
    ],
    ['empty flags', comid([[0, [[board, [measured([[3, map()]])]]]]])],
    ['a flag that is a number', comid([[0, [[board, [measured([[3, map([0, 1])]])]]]]])],
    ['a range that ends first', comid([[0, [[board, [measured([[15, new Tag(564, [2, 1])]])]]]]])],
    ['a series without records', comid([[8, [[[board, [one]], []]]]])],
    ['a key that is none', comid([[3, [[board, [new Tag(37, uuid(1))]]]]])],
    [
      'an OID that is cut off',
      comid([[0, [[environment({ classId: new Tag(111, Uint8Array.of(0x81)) }), [one]]]]]),
    ],
  ])('refused: %s', (_name, value) => {
    expect(() => parse(value)).toThrow(CvmpError);
  });
});
