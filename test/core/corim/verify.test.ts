import { beforeAll, describe, expect, test } from 'vitest';
import * as der from '#core/asn1/write.js';
import type { CborValue } from '#core/cbor/value.js';
import { parseSignedCorim } from '#core/corim/signed.js';
import { type TrustedSigners, verifySignedCorim } from '#core/corim/verify.js';
import { ecPublicKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { extension, leafExtensions } from '../../fakes/certificates.js';
import {
  type CorimSigning,
  comid,
  corim,
  environment,
  map,
  measured,
  signedCorim,
  tagged,
  time,
  validity,
} from '../../fakes/corim.js';
import { caExtensions, ecCertificate } from '../../fakes/ec-certificates.js';

const at = Date.UTC(2026, 0, 1);
const seconds = at / 1000;
const body = comid([[0, [[environment({ vendor: 'ACME' }), [measured([[1, 1]])]]]]]);
const payload = corim([tagged(body)]);

let key: EcPrivateKey;
let other: EcPrivateKey;
let ca: { key: EcPrivateKey; name: string };
let caCert: Uint8Array;
let leafCert: Uint8Array;
const publicOf = (k: EcPrivateKey) => ecPublicKey(k.curve, k.publicPoint);

beforeAll(async () => {
  [key, other] = await Promise.all([crypto.generateEcKey('P-256'), crypto.generateEcKey('P-384')]);
  ca = { key: await crypto.generateEcKey('P-384'), name: 'RIM CA' };
  caCert = await ecCertificate(ca, ca, { extensions: caExtensions() });
  leafCert = await ecCertificate(ca, { key, name: 'RIM Signer' }, { extensions: undefined });
});

const trust = (more: Partial<TrustedSigners> = {}): TrustedSigners => ({
  keys: [publicOf(key)],
  certificates: [],
  at,
  ...more,
});

async function codeOf(bytes: Uint8Array, trusted: TrustedSigners = trust()): Promise<string> {
  try {
    await verifySignedCorim(parseSignedCorim(bytes), trusted);
    return 'accepted';
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return error.code;
  }
}

const signed = (options: CorimSigning = {}, content = payload, signer = key) =>
  signedCorim(signer, content, options);

describe('signed CoRIM (draft-ietf-rats-corim s.4.2)', () => {
  test('a manifest signed by a trusted key is accepted, on either curve', async () => {
    expect(await codeOf(await signed())).toBe('accepted');
    const keys = [publicOf(key), publicOf(other)];
    expect(await codeOf(await signed({}, payload, other), trust({ keys }))).toBe('accepted');
  });

  test('a manifest signed by anybody else is refused', async () => {
    expect(await codeOf(await signed({}, payload, other))).toBe('SIGNATURE_INVALID');
    expect(await codeOf(await signed(), trust({ keys: [] }))).toBe('SIGNATURE_INVALID');
  });

  test('RFC 9360: a chain ends in a trusted certificate, which it need not bring', async () => {
    for (const chain of [leafCert, [leafCert], [leafCert, caCert]] as CborValue[]) {
      const bytes = await signed({ protected: [[33, chain]] });
      const trusted = trust({ keys: [], certificates: [caCert] });
      expect(await codeOf(bytes, trusted)).toBe('accepted');
      expect(await codeOf(bytes, trust({ keys: [], certificates: [leafCert] }))).toBe('accepted');
    }
  });

  test('RFC 9360: a chain to another authority, or around another key, is refused', async () => {
    const stranger = { key: other, name: 'Stranger' };
    const strange = await ecCertificate(stranger, stranger, { extensions: caExtensions() });
    const bytes = await signed({ protected: [[33, [leafCert, caCert]]] });
    const trusted = (certificates: Uint8Array[]) => trust({ keys: [], certificates });
    expect(await codeOf(bytes, trusted([strange]))).toBe('UNTRUSTED_ROOT');
    const impostor = { key: other, name: ca.name };
    const forged = await ecCertificate(
      impostor,
      { key, name: 'RIM Signer' },
      { extensions: undefined },
    );
    const posing = await signed({ protected: [[33, [forged]]] });
    expect(await codeOf(posing, trusted([caCert]))).toBe('CHAIN_INVALID');
    const byOther = await signed({ protected: [[33, [leafCert]]] }, payload, other);
    expect(await codeOf(byOther, trusted([caCert]))).toMatch(/SIGNATURE_INVALID/);
  });

  test('a chain to the certificate of an authority, or of a key that does not sign, is refused', async () => {
    const encryption = [
      leafExtensions()[0]!,
      extension('2.5.29.15', der.bitString(Uint8Array.of(0x20), 5), true),
    ];
    for (const extensions of [caExtensions(0), encryption]) {
      const cert = await ecCertificate(ca, { key, name: 'RIM Signer' }, { extensions });
      const bytes = await signed({ protected: [[33, [cert]]] });
      const trusted = trust({ keys: [], certificates: [caCert] });
      expect(await codeOf(bytes, trusted)).toBe('WRONG_KEY_TYPE');
    }
  });

  test('a trusted certificate stands for its key, within its validity', async () => {
    const certificates = [leafCert];
    expect(await codeOf(await signed(), trust({ keys: [], certificates }))).toBe('accepted');
    const late = trust({ keys: [], certificates, at: Date.UTC(2041, 0, 1) });
    expect(await codeOf(await signed(), late)).toBe('CERT_EXPIRED');
  });

  test.each<[string, () => Promise<Uint8Array>, string]>([
    ['signature not valid yet', () => signed({ from: seconds + 1 }), 'COLLATERAL_STALE'],
    ['signature no longer valid', () => signed({ to: seconds - 1 }), 'COLLATERAL_STALE'],
    ['signature valid until now', () => signed({ to: seconds }), 'accepted'],
    [
      'manifest no longer valid',
      () => signed({}, corim([tagged(body)], [[4, validity(0, seconds - 1)]])),
      'COLLATERAL_STALE',
    ],
    [
      'list of active tags no longer valid',
      () =>
        signed(
          {},
          corim([
            tagged(map([0, map([0, 'l'])], [1, [map([0, 'a'])]], [2, map([1, time(5)])]), 508),
          ]),
        ),
      'COLLATERAL_STALE',
    ],
    [
      'CWT claims instead of corim-meta',
      () => signed({ anonymous: true, protected: [[15, map([1, 'iss'], [4, seconds + 9])]] }),
      'accepted',
    ],
    [
      'CWT claims that have expired',
      () => signed({ protected: [[15, map([1, 'iss'], [4, seconds - 9])]] }),
      'COLLATERAL_STALE',
    ],
    ['nobody said to have signed', () => signed({ anonymous: true }), 'MALFORMED'],
    ['a hash envelope', () => signed({ protected: [[258, -16]] }), 'UNSUPPORTED_VERSION'],
    ['another content type', () => signed({ protected: [[3, 'text/plain']] }), 'MALFORMED'],
    ['a payload that is no manifest', () => signed({}, Uint8Array.of(1)), 'MALFORMED'],
  ])('%s', async (_name, make, expected) => {
    expect(await codeOf(await make())).toBe(expected);
  });

  test('every truncation and every flipped byte is refused with a code', async () => {
    const bytes = await signed({ protected: [[33, [leafCert]]] });
    const trusted = trust({ certificates: [caCert] });
    for (let i = 0; i < bytes.length; i++) {
      expect(await codeOf(bytes.subarray(0, i), trusted), `cut at ${i}`).not.toBe('accepted');
      const flipped = bytes.slice();
      flipped[i] = flipped[i]! ^ 0x41;
      expect(await codeOf(flipped, trusted), `flipped ${i}`).not.toBe('accepted');
    }
  });
});
