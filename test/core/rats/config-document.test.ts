import { describe, expect, it } from 'vitest';
import { toHex } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import type { CborValue } from '#core/cbor/value.js';
import {
  type ConfigDocument,
  decodeConfigDocument,
  encodeConfigDocument,
  namesKeyServer,
} from '#core/rats/config-document.js';
import { refusalOf } from '../../refusal.js';

const document: ConfigDocument = {
  tenantId: 'acme',
  keyServers: [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)],
  policyAnchor: new Uint8Array(32).fill(3),
  cvmName: 'web-1',
};

describe('config document (protocol.md s.6.1, s.6.7)', () => {
  it('is one deterministic encoding', () => {
    const bytes = encodeConfigDocument(document);
    expect(toHex(bytes)).toBe(
      `a501010264${toHex(Buffer.from('acme'))}03825820${'01'.repeat(32)}5820${'02'.repeat(32)}` +
        `045820${'03'.repeat(32)}0565${toHex(Buffer.from('web-1'))}`,
    );
    expect(decodeConfigDocument(bytes)).toEqual(document);
    const higher = { ...document, protocolMin: 2 };
    expect(decodeConfigDocument(encodeConfigDocument(higher))).toEqual(higher);
  });

  it('says which Key Servers it names', () => {
    expect(namesKeyServer(document, new Uint8Array(32).fill(2))).toBe(true);
    expect(namesKeyServer(document, new Uint8Array(32).fill(3))).toBe(false);
  });

  it.each<[string, number, CborValue | undefined, string]>([
    ['another version', 1, 2, 'UNSUPPORTED_VERSION'],
    ['no tenant', 2, undefined, 'MALFORMED'],
    ['an empty tenant', 2, '', 'MALFORMED'],
    ['a tenant with a slash', 2, 'a/b', 'MALFORMED'],
    ['a tenant in upper case', 2, 'Acme', 'MALFORMED'],
    ['a tenant of 64 letters', 2, 'a'.repeat(64), 'MALFORMED'],
    ['no Key Server', 3, [], 'SIZE'],
    ['nine Key Servers', 3, new Array(9).fill(new Uint8Array(32)), 'SIZE'],
    ['a short thumbprint', 3, [new Uint8Array(31)], 'SIZE'],
    ['a long policy anchor', 4, new Uint8Array(33), 'SIZE'],
    ['a name that ends in a hyphen', 5, 'web-', 'MALFORMED'],
    ['min_proto 0', 6, 0, 'SIZE'],
    ['an unknown member', 7, 0, 'MALFORMED'],
  ])('refuses %s', async (_, member, value, code) => {
    const map = decode(encodeConfigDocument(document)) as Map<number, CborValue>;
    const changed = new Map(map);
    if (value === undefined) changed.delete(member);
    else changed.set(member, value);
    expect(await refusalOf(() => decodeConfigDocument(encode(changed)))).toBe(code);
  });

  it('refuses to encode what it would refuse to decode', async () => {
    expect(await refusalOf(() => encodeConfigDocument({ ...document, keyServers: [] }))).toBe(
      'SIZE',
    );
  });
});
