import { beforeAll, describe, expect, it } from 'vitest';
import { toHex, utf8 } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { type CborValue, Tag } from '#core/cbor/value.js';
import { type EcPublicKey, ecPublicKey, thumbprint } from '#core/cose/key.js';
import {
  demandQuorum,
  peekSigned,
  signAlso,
  signTogether,
  startTogether,
} from '#core/cose/quorum.js';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';

const typ = 'application/test';
const payload = utf8('decommission');

type Name = 'alice' | 'bob' | 'carol' | 'mallory';
const keys = {} as Record<Name, EcPrivateKey>;
const pub = {} as Record<Name, EcPublicKey>;
beforeAll(async () => {
  for (const name of ['alice', 'bob', 'carol', 'mallory'] as const) {
    keys[name] = await crypto.generateEcKey('P-256');
    pub[name] = ecPublicKey('P-256', keys[name].publicPoint);
  }
});

const rule = (threshold: number, ...signers: Name[]) => ({
  threshold,
  signers: signers.map((name) => pub[name]),
});
const together = (...names: Name[]) =>
  signTogether(
    names.map((name) => keys[name]),
    typ,
    payload,
  );

describe('m of n signatures (protocol.md s.6.5)', () => {
  it.each<[string, Name[], number, Name[], string]>([
    ['one of one, as COSE_Sign1', ['alice'], 1, ['alice'], 'accepted'],
    ['one of three, as COSE_Sign1', ['bob'], 1, ['alice', 'bob', 'carol'], 'accepted'],
    ['two of three', ['alice', 'carol'], 2, ['alice', 'bob', 'carol'], 'accepted'],
    ['three of three', ['carol', 'alice', 'bob'], 3, ['alice', 'bob', 'carol'], 'accepted'],
    ['more than are needed', ['alice', 'bob', 'carol'], 2, ['alice', 'bob', 'carol'], 'accepted'],
    ['one where two are needed', ['alice'], 2, ['alice', 'bob', 'carol'], 'QUORUM'],
    ['the same one twice', ['alice', 'alice'], 2, ['alice', 'bob', 'carol'], 'QUORUM'],
    ['one of them and a stranger', ['alice', 'mallory'], 2, ['alice', 'bob'], 'QUORUM'],
    ['two of them and a stranger', ['alice', 'mallory', 'bob'], 2, ['alice', 'bob'], 'accepted'],
    ['a stranger alone', ['mallory'], 1, ['alice'], 'SIGNATURE_INVALID'],
  ])('%s', async (_, signers, threshold, named, expected) => {
    const bytes = await together(...signers);
    const demanded = demandQuorum(bytes, typ, rule(threshold, ...named));
    expect(await refusalOf(demanded)).toBe(expected);
    if (expected !== 'accepted') return;
    const quorum = await demanded;
    expect(quorum.payload).toEqual(payload);
    const counted = named.filter((name) => signers.includes(name));
    expect(quorum.signers).toEqual(counted.map((name) => thumbprint(pub[name])));
  });

  it('who is unknown is named in the refusal', async () => {
    const bytes = await together('alice', 'mallory');
    await expect(demandQuorum(bytes, typ, rule(2, 'alice', 'bob'))).rejects.toThrow(
      toHex(thumbprint(pub.mallory)),
    );
  });

  it('people sign one after the other, each once', async () => {
    const first = await startTogether(keys.alice, typ, payload);
    const second = await signAlso(first, typ, keys.bob);
    expect((await demandQuorum(second, typ, rule(2, 'alice', 'bob'))).unknown).toEqual([]);
    expect(peekSigned(second, typ)).toEqual({
      payload,
      signers: [thumbprint(pub.alice), thumbprint(pub.bob)],
    });
    expect(await refusalOf(signAlso(second, typ, keys.alice))).toBe('ALREADY_EXISTS');
    const alone = await together('alice');
    expect(await refusalOf(signAlso(alone, typ, keys.bob))).toBe('MALFORMED');
  });

  it('a signature in the name of a signer that does not hold refuses the whole', async () => {
    const good = await together('alice', 'bob', 'carol');
    const elements = (decode(good, { tags: [98] }) as Tag).value as CborValue[];
    const [first, second, third] = elements[3] as CborValue[][];
    const forged = [first!, second!, [third![0]!, third![1]!, second![2]!]];
    const bytes = encode(new Tag(98, [...elements.slice(0, 3), forged]));
    const demanded = demandQuorum(bytes, typ, rule(2, 'alice', 'bob', 'carol'));
    expect(await refusalOf(demanded)).toBe('SIGNATURE_INVALID');
  });

  it.each<[string, () => Promise<Uint8Array>]>([
    ['another type', () => signTogether([keys.alice], 'application/other', payload)],
    ['no kid', () => sign1(keys.alice, payload, { protected: new Map([[16, typ]]) })],
    [
      'kid in the unprotected bucket',
      () =>
        sign1(keys.alice, payload, {
          protected: new Map([[16, typ]]),
          unprotected: new Map([[4, thumbprint(pub.alice)]]),
        }),
    ],
    ['a detached payload', async () => detached(await together('alice', 'bob'), 98)],
    ['a detached payload of one', async () => detached(await together('alice'), 18)],
  ])('%s is refused', async (_, make) => {
    expect(await refusalOf(demandQuorum(await make(), typ, rule(1, 'alice')))).toBe('MALFORMED');
  });
});

function detached(bytes: Uint8Array, tag: number): Uint8Array {
  const [bucket, map, , rest] = (decode(bytes, { tags: [tag] }) as Tag).value as CborValue[];
  return encode(new Tag(tag, [bucket!, map!, null, rest!]));
}
