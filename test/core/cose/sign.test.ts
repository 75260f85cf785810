import { beforeAll, describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import { type EcPublicKey, ecPublicKey } from '#core/cose/key.js';
import { addSignature, parseSign, sign, verifySignature } from '#core/cose/sign.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';

const payload = utf8('This is the content.');
const body = new Map<number, CborValue>([[16, 'application/test']]);

interface Pair {
  readonly key: EcPrivateKey;
  readonly publicKey: EcPublicKey;
}
let alice: Pair;
let bob: Pair;
beforeAll(async () => {
  [alice, bob] = (await Promise.all(
    (['P-256', 'P-384'] as const).map(async (curve) => {
      const key = await crypto.generateEcKey(curve);
      return { key, publicKey: ecPublicKey(curve, key.publicPoint) };
    }),
  )) as [Pair, Pair];
});

async function verifyAll(bytes: Uint8Array, rules = {}): Promise<Uint8Array> {
  const message = parseSign(bytes, { typ: 'application/test' });
  const [first, second] = message.signatures;
  await verifySignature(message, first!, alice.publicKey, rules);
  return verifySignature(message, second!, bob.publicKey, rules);
}

const elementsOf = (bytes: Uint8Array) =>
  (decode(bytes, { tags: [98] }) as Tag).value as CborValue[];

describe('COSE_Sign (RFC 9052 s.4.1, s.4.4)', () => {
  it('one payload, a signature by each key, each over the body and its own headers', async () => {
    const bytes = await sign([alice.key, bob.key], payload, body);
    expect(await verifyAll(bytes)).toEqual(payload);
  });

  it('a signature is added without touching the others', async () => {
    const one = await sign([alice.key], payload, body);
    const two = await addSignature(parseSign(one), bob.key);
    expect(await verifyAll(two)).toEqual(payload);
    expect((elementsOf(two)[3] as CborValue[])[0]).toEqual((elementsOf(one)[3] as CborValue[])[0]);
  });

  it('a change of any byte is refused', async () => {
    const good = await sign([alice.key, bob.key], payload, body);
    for (let i = 0; i < good.length; i++) {
      const bytes = good.slice();
      bytes[i]! ^= 0x01;
      expect(await refusalOf(verifyAll(bytes)), `byte ${i}`).not.toBe('accepted');
    }
  });

  it('a signature of a COSE_Sign1 does not pass for one of a COSE_Sign, nor of another body', async () => {
    const good = elementsOf(await sign([alice.key], payload, body));
    const other = encode(new Tag(98, [encode(new Map([[16, 'x']])), ...good.slice(1)]));
    const message = parseSign(other);
    const check = verifySignature(message, message.signatures[0]!, alice.publicKey);
    expect(await refusalOf(check)).toBe('SIGNATURE_INVALID');
  });

  it('binds external_aad (s.4.3), and takes a detached payload from the caller', async () => {
    const [bucket, map, , signatures] = elementsOf(await sign([alice.key, bob.key], payload, body));
    const detached = encode(new Tag(98, [bucket!, map!, null, signatures!]));
    expect(await verifyAll(detached, { detachedPayload: payload })).toBe(payload);
    expect(await refusalOf(verifyAll(detached))).toBe('MALFORMED');
    const good = await sign([alice.key, bob.key], payload, body);
    expect(await refusalOf(verifyAll(good, { detachedPayload: payload }))).toBe('MALFORMED');
    const aad = verifyAll(good, { externalAad: utf8('aad') });
    expect(await refusalOf(aad)).toBe('SIGNATURE_INVALID');
  });

  it.each<[string, (elements: CborValue[]) => CborValue, string]>([
    ['no signature', ([a, b, c]) => new Tag(98, [a!, b!, c!, []]), 'SIZE'],
    ['33 signatures', ([a, b, c, d]) => new Tag(98, [a!, b!, c!, many(d!, 33)]), 'SIZE'],
    ['the tag of COSE_Sign1', (all) => new Tag(18, all), 'MALFORMED'],
    ['no tag', (all) => all, 'MALFORMED'],
    ['five elements', (all) => new Tag(98, [...all, 0]), 'SIZE'],
    ['a text payload', ([a, b, , d]) => new Tag(98, [a!, b!, 'text', d!]), 'MALFORMED'],
    ['a signature of two elements', ([a, b, c]) => new Tag(98, [a!, b!, c!, [[a!, b!]]]), 'SIZE'],
    [
      'a label in both buckets of the body',
      ([a, , c, d]) => new Tag(98, [a!, new Map([[16, 'x']]), c!, d!]),
      'MALFORMED',
    ],
    [
      'an unknown critical header of a signature',
      ([a, b, c]) =>
        new Tag(98, [
          a!,
          b!,
          c!,
          [
            [
              encode(
                new Map<number | string, CborValue>([
                  [1, -7],
                  [2, ['x']],
                  ['x', 0],
                ]),
              ),
              b!,
              c!,
            ],
          ],
        ]),
      'UNKNOWN_CRITICAL',
    ],
    [
      'another typ',
      ([, b, c, d]) => new Tag(98, [encode(new Map([[16, 'x']])), b!, c!, d!]),
      'MALFORMED',
    ],
  ])('%s is refused', async (_, change, code) => {
    const bytes = encode(change(elementsOf(await sign([alice.key], payload, body))));
    const parse = async () => parseSign(bytes, { typ: 'application/test' });
    expect(await refusalOf(parse())).toBe(code);
  });
});

function many(signatures: CborValue, count: number): CborValue[] {
  return Array.from({ length: count }, () => (signatures as CborValue[])[0]!);
}
