import { describe, expect, it } from 'vitest';
import { encode } from '#core/cbor/encode.js';
import { asText, decodeMap, type MapReader, readMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import type { CvmpError } from '#core/errors.js';

const read = (m: MapReader) => ({
  version: m.integer(1, 'version', { min: 1, max: 2 }),
  tenantId: m.text(2, 'tenant_id', { min: 1, max: 8 }),
  thumbprints: m.array(3, 'thumbprints', { min: 1, max: 2 }, asText),
  digest: m.bytes(4, 'digest', { length: 4 }),
  rule: m.map(5, 'rule', (r) => r.boolean(1, 'on')),
  count: m.optional(6, () => m.uint64(6, 'count')),
});

const good = (): Map<number, CborValue> =>
  new Map<number, CborValue>([
    [1, 1],
    [2, 'acme'],
    [3, ['a']],
    [4, new Uint8Array(4)],
    [5, new Map([[1, true]])],
  ]);

describe('closed maps', () => {
  it('reads what it knows', () => {
    expect(decodeMap(encode(good()), 'doc', read)).toEqual({
      version: 1,
      tenantId: 'acme',
      thumbprints: ['a'],
      digest: new Uint8Array(4),
      rule: true,
      count: undefined,
    });
    expect(readMap(good().set(6, 2n ** 63n), 'doc', read).count).toBe(2n ** 63n);
  });

  it.each<[string, number, CborValue | undefined, string, string]>([
    ['a missing key', 2, undefined, 'MALFORMED', 'doc.tenant_id'],
    ['an unknown key', 9, 0, 'MALFORMED', 'doc'],
    ['a wrong type', 1, 'one', 'MALFORMED', 'doc.version'],
    ['a number out of range', 1, 3, 'SIZE', 'doc.version'],
    ['a negative number', 1, -1, 'SIZE', 'doc.version'],
    ['a text too long', 2, 'acme-limited', 'SIZE', 'doc.tenant_id'],
    ['an empty text', 2, '', 'SIZE', 'doc.tenant_id'],
    ['too many elements', 3, ['a', 'b', 'c'], 'SIZE', 'doc.thumbprints'],
    ['a wrong element', 3, ['a', 1], 'MALFORMED', 'doc.thumbprints[1]'],
    ['bytes of another length', 4, new Uint8Array(5), 'SIZE', 'doc.digest'],
    [
      'an unknown key inside',
      5,
      new Map([
        [1, true],
        [2, true],
      ]),
      'MALFORMED',
      'doc.rule',
    ],
    ['a missing key inside', 5, new Map(), 'MALFORMED', 'doc.rule.on'],
    ['a negative 64-bit number', 6, -1, 'MALFORMED', 'doc.count'],
  ])('names the field of %s', (_, key, value, code, field) => {
    const doc = good();
    if (value === undefined) doc.delete(key);
    else doc.set(key, value);
    try {
      readMap(doc, 'doc', read);
      expect.unreachable();
    } catch (error) {
      expect((error as CvmpError).code).toBe(code);
      expect((error as CvmpError).field).toBe(field);
    }
  });
});
