import { beforeAll, describe, expect, it } from 'vitest';
import { fromHex, toHex, utf8 } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import {
  decodeCoseKey,
  type EcPublicKey,
  ecPublicKey,
  encodeCoseKey,
  thumbprint,
} from '#core/cose/key.js';
import { openSign1, parseSign1, sign1 } from '#core/cose/sign1.js';
import type { EcCurve, EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';

const payload = utf8('This is the content.');

const keys = new Map<EcCurve, EcPrivateKey>();
const pub = new Map<EcCurve, EcPublicKey>();
beforeAll(async () => {
  for (const curve of ['P-256', 'P-384'] as const) {
    const key = await crypto.generateEcKey(curve);
    keys.set(curve, key);
    pub.set(curve, ecPublicKey(curve, key.publicPoint));
  }
});

/** A COSE_Sign1 of any shape, signed as its protected bytes and payload are. */
async function forge(parts: {
  readonly bucket?: CborValue;
  readonly unprotected?: CborValue;
  readonly payload?: CborValue;
  readonly tag?: number;
  readonly more?: CborValue[];
}): Promise<Uint8Array> {
  const bucket = parts.bucket ?? new Uint8Array(encode(new Map([[1, -7]])));
  const body = parts.payload === undefined ? payload : parts.payload;
  const signed = encode(['Signature1', bucket, new Uint8Array(), body]);
  const signature = await crypto.sign(keys.get('P-256')!, signed);
  const elements = [bucket, parts.unprotected ?? new Map(), body, signature, ...(parts.more ?? [])];
  return encode(parts.tag === 0 ? elements : new Tag(parts.tag ?? 18, elements));
}

const bucketOf = (...entries: [number | string, CborValue][]) => encode(new Map(entries));

describe('COSE_Sign1 (RFC 9052 s.4.2, s.4.4)', () => {
  it.each(['P-256', 'P-384'] as const)('signs and verifies on %s', async (curve) => {
    const bytes = await sign1(keys.get(curve)!, payload, {
      protected: new Map([[4, utf8('kid')]]),
    });
    const opened = await openSign1(bytes, pub.get(curve)!);
    expect(opened.payload).toEqual(payload);
    expect(opened.headers.protected.get(4)).toEqual(utf8('kid'));
  });

  it('binds external_aad (s.4.3)', async () => {
    const externalAad = utf8('aad');
    const bytes = await sign1(keys.get('P-256')!, payload, {}, { externalAad });
    await openSign1(bytes, pub.get('P-256')!, { externalAad });
    expect(await refusalOf(openSign1(bytes, pub.get('P-256')!))).toBe('SIGNATURE_INVALID');
  });

  it('a change of any byte is refused', async () => {
    const good = await sign1(keys.get('P-256')!, payload);
    for (let i = 0; i < good.length; i++) {
      const bytes = good.slice();
      bytes[i]! ^= 0x01;
      expect(await refusalOf(openSign1(bytes, pub.get('P-256')!)), `byte ${i}`).not.toBe(
        'accepted',
      );
    }
  });

  it('an algorithm of another curve than the key is refused', async () => {
    const bytes = await sign1(keys.get('P-256')!, payload);
    expect(await refusalOf(openSign1(bytes, pub.get('P-384')!))).toBe('SIGNATURE_INVALID');
  });

  it('takes the payload of a detached object from the caller, and never two payloads', async () => {
    const key = pub.get('P-256')!;
    const whole = decode(await sign1(keys.get('P-256')!, payload), { tags: [18] }) as Tag;
    const [bucket, unprotected, , signature] = whole.value as CborValue[];
    const detached = encode(new Tag(18, [bucket!, unprotected!, null, signature!]));
    expect((await openSign1(detached, key, { detachedPayload: payload })).payload).toBe(payload);
    expect(await refusalOf(openSign1(detached, key))).toBe('MALFORMED');
    const both = openSign1(encode(whole), key, { detachedPayload: payload });
    expect(await refusalOf(both)).toBe('MALFORMED');
  });

  it.each<[string, Parameters<typeof forge>[0], string]>([
    ['nothing but alg', {}, 'accepted'],
    ['a fully specified alg (RFC 9864)', { bucket: bucketOf([1, -9]) }, 'accepted'],
    [
      'crit that names an understood header',
      { bucket: bucketOf([1, -7], [2, [3]], [3, 0]) },
      'accepted',
    ],
    ['another tag', { tag: 98 }, 'MALFORMED'],
    ['no tag', { tag: 0 }, 'MALFORMED'],
    ['five elements', { more: [0] }, 'SIZE'],
    ['a text payload', { payload: 'text' }, 'MALFORMED'],
    ['no alg', { bucket: new Uint8Array() }, 'UNSUPPORTED_ALGORITHM'],
    [
      'alg in the unprotected bucket',
      { bucket: new Uint8Array(), unprotected: new Map([[1, -7]]) },
      'UNSUPPORTED_ALGORITHM',
    ],
    ['alg in both buckets', { unprotected: new Map([[1, -7]]) }, 'MALFORMED'],
    ['an unknown alg', { bucket: bucketOf([1, -257]) }, 'UNSUPPORTED_ALGORITHM'],
    ['a text alg', { bucket: bucketOf([1, 'ES256']) }, 'UNSUPPORTED_ALGORITHM'],
    ['an encryption alg', { bucket: bucketOf([1, 3]) }, 'UNSUPPORTED_ALGORITHM'],
    ['a byte string alg', { bucket: bucketOf([1, utf8('x')]) }, 'MALFORMED'],
    [
      'an unknown critical header',
      { bucket: bucketOf([1, -7], [2, ['x']], ['x', 0]) },
      'UNKNOWN_CRITICAL',
    ],
    ['crit that names an absent header', { bucket: bucketOf([1, -7], [2, [3]]) }, 'MALFORMED'],
    ['an empty crit', { bucket: bucketOf([1, -7], [2, []]) }, 'SIZE'],
    ['an unprotected crit', { unprotected: new Map([[2, [1]]]) }, 'MALFORMED'],
    ['a protected bucket that is no map', { bucket: encode([1]) }, 'MALFORMED'],
    ['a protected bucket that is no byte string', { bucket: new Map([[1, -7]]) }, 'MALFORMED'],
    ['a protected bucket with trailing bytes', { bucket: fromHex('a1012600') }, 'MALFORMED'],
    ['a protected bucket with a duplicate', { bucket: fromHex('a201260126') }, 'MALFORMED'],
    ['a protected bucket out of order', { bucket: fromHex('a203000126') }, 'NOT_CANONICAL'],
    ['an unprotected bucket that is no map', { unprotected: [] }, 'MALFORMED'],
    [
      'iv and partial iv',
      { bucket: bucketOf([1, -7], [5, utf8('a')], [6, utf8('b')]) },
      'MALFORMED',
    ],
  ])('judges %s', async (_, parts, expected) => {
    expect(await refusalOf(openSign1(await forge(parts), pub.get('P-256')!))).toBe(expected);
  });

  it("authenticates h'' where the protected bucket is an empty map (RFC 9052 s.3)", async () => {
    const unprotected = new Map([[1, -7]]);
    const empty = decode(await forge({ bucket: new Uint8Array(), unprotected }), { tags: [18] });
    const [, ...rest] = (empty as Tag).value as CborValue[];
    const bytes = encode(new Tag(18, [fromHex('a0'), ...rest]));
    const opened = await openSign1(bytes, pub.get('P-256')!, { algFrom: 'either' });
    expect(opened.payload).toEqual(payload);
  });

  it('parses untagged and foreign encodings only where told', async () => {
    const untagged = await forge({ tag: 0 });
    await openSign1(untagged, pub.get('P-256')!, { tag: 'forbidden' });
    await openSign1(untagged, pub.get('P-256')!, { tag: 'optional' });
    expect(() => parseSign1(fromHex('d2844043'), { tag: 'forbidden' })).toThrow();
    const unsorted = await forge({ bucket: fromHex('a203000126') });
    await openSign1(unsorted, pub.get('P-256')!, { canonical: false });
  });
});

describe('COSE_Key', () => {
  it('has the thumbprint of RFC 9679 s.6', () => {
    const key = fromHex(
      'a40102200121582065eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d2258201e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c',
    );
    expect(toHex(thumbprint(decodeCoseKey(key, 'key')))).toBe(
      '496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec',
    );
    expect(encodeCoseKey(decodeCoseKey(key, 'key'))).toEqual(key);
  });

  it.each<[string, [number | string, CborValue][], string]>([
    ['a private member', [[-4, new Uint8Array(32)]], 'MALFORMED'],
    ['an unknown member', [['x', 0]], 'MALFORMED'],
    ['another type', [[1, 1]], 'UNSUPPORTED_ALGORITHM'],
    ['another curve', [[-1, 3]], 'UNSUPPORTED_ALGORITHM'],
    ['a short coordinate', [[-2, new Uint8Array(31)]], 'SIZE'],
    ['a compressed point', [[-3, true]], 'MALFORMED'],
  ])('refuses %s', async (_, change, code) => {
    const members = decode(encodeCoseKey(pub.get('P-256')!)) as Map<number | string, CborValue>;
    const bytes = encode(new Map([...members, ...change]));
    expect(await refusalOf(async () => decodeCoseKey(bytes, 'key'))).toBe(code);
  });
});
