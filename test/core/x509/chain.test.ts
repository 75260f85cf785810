import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import * as der from '#core/asn1/write.js';
import { fromHex, toHex } from '#core/bytes.js';
import type { ErrorCode } from '#core/errors.js';
import { type Certificate, parseCertificate } from '#core/x509/certificate.js';
import { type Chain, type ChainRules, verifyChain } from '#core/x509/chain.js';
import { parseCertificateList } from '#core/x509/crl.js';
import { crypto } from '#crypto';
import {
  type CertificateParts,
  caExtensions,
  commonName,
  type EcAuthority,
  ecCertificate,
  ecdsa,
  ecdsaSignature,
  extension,
} from '../../fakes/ec-certificates.js';
import { refusalOf } from '../../refusal.js';

const at = Date.UTC(2026, 0, 1);
const rules: ChainRules = { at, algorithms: ['ES256'] };

let root: EcAuthority;
let ca: EcAuthority;
let leaf: EcAuthority;
beforeAll(async () => {
  const authority = async (name: string) => ({ key: await crypto.generateEcKey('P-256'), name });
  root = await authority('Root');
  ca = await authority('CA');
  leaf = await authority('Leaf');
});

type Role = 'leaf' | 'ca' | 'root';

/** Leaf, CA and root as they should be, but for the parts given. */
async function chain(
  parts: Partial<Record<Role, Partial<CertificateParts>>> = {},
  signers: Partial<Record<Role, EcAuthority>> = {},
): Promise<Chain> {
  const made = await Promise.all([
    ecCertificate(signers.leaf ?? ca, leaf, { ...parts.leaf }),
    ecCertificate(signers.ca ?? root, ca, { extensions: caExtensions(0), ...parts.ca }),
    ecCertificate(signers.root ?? root, root, { extensions: caExtensions(), ...parts.root }),
  ]);
  return made.map((bytes) => parseCertificate(bytes)) as [Certificate, Certificate, Certificate];
}

const weakRsa = new Uint8Array(
  generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({
    format: 'der',
    type: 'spki',
  }),
);

const validity = (from: number, to: number) => der.sequence(der.time(from), der.time(to));

describe('certificate chain (RFC 5280 s.6.1)', () => {
  it('a chain of ECDSA P-256, as Intel has it, is accepted', async () => {
    expect(await refusalOf(verifyChain(await chain(), rules))).toBe('accepted');
  });

  type Row = [
    why: string,
    code: ErrorCode,
    parts: () => Partial<Record<Role, Partial<CertificateParts>>>,
    signers?: () => Partial<Record<Role, EcAuthority>>,
  ];
  const table: Row[] = [
    [
      'a leaf that names another issuer',
      'CHAIN_INVALID',
      () => ({ leaf: { issuer: commonName('Other') } }),
    ],
    [
      'a leaf that another key signed under the name of the CA',
      'CHAIN_INVALID',
      () => ({}),
      () => ({ leaf: { key: leaf.key, name: 'CA' } }),
    ],
    [
      'a CA that another key signed',
      'CHAIN_INVALID',
      () => ({}),
      () => ({ ca: { key: leaf.key, name: 'Root' } }),
    ],
    [
      'a root that did not sign itself',
      'UNTRUSTED_ROOT',
      () => ({}),
      () => ({ root: { key: leaf.key, name: 'Root' } }),
    ],
    [
      'an issuer whose RSA key can be factored',
      'CHAIN_INVALID',
      () => ({ root: { spki: weakRsa } }),
    ],
    ['an issuer without the CA flag', 'CHAIN_INVALID', () => ({ ca: { extensions: undefined } })],
    [
      'an issuer that is no CA',
      'CHAIN_INVALID',
      () => ({ ca: { extensions: [extension('2.5.29.19', der.sequence())] } }),
    ],
    [
      'an issuer that may not sign certificates',
      'CHAIN_INVALID',
      () => ({
        ca: {
          extensions: [
            caExtensions()[0]!,
            extension('2.5.29.15', der.bitString(Uint8Array.of(0x80), 7), true),
          ],
        },
      }),
    ],
    [
      'a root that allows no CA below it',
      'CHAIN_INVALID',
      () => ({ root: { extensions: caExtensions(0) } }),
    ],
    [
      'an unknown critical extension',
      'UNKNOWN_CRITICAL',
      () => ({ leaf: { extensions: [extension('1.2.3', new Uint8Array(), true)] } }),
    ],
    [
      'a leaf that has expired',
      'CERT_EXPIRED',
      () => ({ leaf: { validity: validity(at - 9000, at - 1000) } }),
    ],
    [
      'a leaf that is not yet valid',
      'CERT_EXPIRED',
      () => ({ leaf: { validity: validity(at + 1000, at + 9000) } }),
    ],
    [
      'a CA that has expired',
      'CERT_EXPIRED',
      () => ({ ca: { validity: validity(at - 9000, at - 1000) } }),
    ],
    [
      'a root that has expired',
      'CERT_EXPIRED',
      () => ({ root: { validity: validity(at - 9000, at - 1000) } }),
    ],
  ];
  it.each(table)('refuses %s (%s)', async (_, code, parts, signers) => {
    expect(await refusalOf(verifyChain(await chain(parts(), signers?.()), rules))).toBe(code);
  });

  it('forgery is told before expiry: dates mean nothing until their signature holds', async () => {
    const expired = { leaf: { validity: validity(at - 9000, at - 1000) } };
    const forged = await chain(expired, { leaf: { key: leaf.key, name: 'CA' } });
    expect(await refusalOf(verifyChain(forged, rules))).toBe('CHAIN_INVALID');
  });

  it('an algorithm outside of the hierarchy is refused, however well it verifies', async () => {
    const good = await chain();
    expect(await refusalOf(verifyChain(good, { at, algorithms: ['PS384'] }))).toBe('CHAIN_INVALID');
  });

  it('a certificate is valid in its first and its last second', async () => {
    const [from, to] = [at - 5000, at + 5000];
    const bounded = await chain({ leaf: { validity: validity(from, to) } });
    for (const [time, expected] of [
      [from - 1, 'CERT_EXPIRED'],
      [from, 'accepted'],
      [to, 'accepted'],
      [to + 1, 'CERT_EXPIRED'],
    ] as const) {
      expect(await refusalOf(verifyChain(bounded, { ...rules, at: time }))).toBe(expected);
    }
  });

  it('every changed byte of the signed part of any certificate is refused', async () => {
    const good = await chain();
    for (const [i, certificate] of good.entries()) {
      const offset = certificate.tbs.byteOffset - certificate.der.byteOffset;
      for (let at = offset; at < offset + certificate.tbs.length; at += 7) {
        const changed = certificate.der.slice();
        changed[at]! ^= 0x01;
        const outcome = await refusalOf(async () => {
          const parsed = parseCertificate(changed);
          await verifyChain(good.map((c, n) => (n === i ? parsed : c)) as unknown as Chain, rules);
        });
        expect(outcome).not.toBe('accepted');
      }
    }
  });

  it('an ECDSA signature that is not exactly its DER is refused', async () => {
    const [leafCertificate, ...rest] = await chain();
    const { signature } = leafCertificate;
    const longer = { ...leafCertificate, signature: Uint8Array.of(...signature, 0) };
    const malleable = verifyChain([longer, ...rest] as unknown as Chain, rules);
    expect(await refusalOf(malleable)).toBe('MALFORMED');
  });
});

describe('revocation list (RFC 5280 s.5, s.6.3)', () => {
  interface CrlParts {
    readonly signer: EcAuthority;
    readonly issuer: Uint8Array;
    readonly from: number;
    readonly to: number;
    readonly serials: readonly string[];
    readonly extensions: readonly Uint8Array[];
    readonly entryExtensions: readonly Uint8Array[];
    readonly version: Uint8Array;
    readonly outerAlgorithm: Uint8Array;
  }

  async function crl(parts: Partial<CrlParts> = {}): Promise<Uint8Array> {
    const p: CrlParts = {
      signer: root,
      issuer: commonName('Root'),
      from: at - 5000,
      to: at + 5000,
      serials: [],
      extensions: [extension('2.5.29.20', der.integer(1))],
      entryExtensions: [],
      version: der.integer(1),
      outerAlgorithm: ecdsa['P-256'],
      ...parts,
    };
    const entries = p.serials.map((serial) => {
      const more = p.entryExtensions.length === 0 ? [] : [der.sequence(...p.entryExtensions)];
      return der.sequence(der.integer(fromHex(serial)), der.time(at), ...more);
    });
    const tbs = der.sequence(
      p.version,
      ecdsa['P-256'],
      p.issuer,
      der.time(p.from),
      der.time(p.to),
      ...(entries.length === 0 ? [] : [der.sequence(...entries)]),
      der.explicit(0, der.sequence(...p.extensions)),
    );
    const signature = der.bitString(await ecdsaSignature(p.signer.key, tbs));
    return der.sequence(tbs, p.outerAlgorithm, signature);
  }

  const judge = async (parts: Partial<CrlParts>) => {
    const list = parseCertificateList(await crl(parts));
    await verifyChain(
      await chain({ ca: { serial: der.integer(0x1234) }, root: { serial: der.integer(1) } }),
      {
        ...rules,
        crls: [list],
      },
    );
  };

  it('is read field by field', async () => {
    const list = parseCertificateList(await crl({ serials: ['1234', '00ff'] }));
    expect(list.issuer.text).toBe('CN=Root');
    expect([list.thisUpdate, list.nextUpdate]).toEqual([at - 5000, at + 5000]);
    expect([...list.revoked]).toEqual(['1234', 'ff']);
    expect(toHex(list.number!)).toBe('01');
  });

  it.each<[why: string, expected: ErrorCode | 'accepted', parts: () => Partial<CrlParts>]>([
    ['an empty list', 'accepted', () => ({})],
    ['the serial of the CA on it', 'CERT_REVOKED', () => ({ serials: ['1234'] })],
    ['another serial on it', 'accepted', () => ({ serials: ['1235'] })],
    ['the same serial of another issuer', 'accepted', () => ({ serials: ['07'] })],
    [
      'a list of another authority',
      'accepted',
      () => ({ issuer: commonName('Other'), serials: ['1234'] }),
    ],
    ['a list that another key signed', 'CHAIN_INVALID', () => ({ signer: leaf })],
    ['a list from the future', 'COLLATERAL_STALE', () => ({ from: at + 1000 })],
    ['a list that is out of date', 'COLLATERAL_STALE', () => ({ to: at - 1000 })],
    [
      'a partial list',
      'UNKNOWN_CRITICAL',
      () => ({ extensions: [extension('2.5.29.28', der.sequence(), true)] }),
    ],
    [
      'a critical extension of an entry',
      'UNKNOWN_CRITICAL',
      () => ({ serials: ['99'], entryExtensions: [extension('2.5.29.29', der.sequence(), true)] }),
    ],
    ['version 1', 'MALFORMED', () => ({ version: der.integer(0) })],
    ['two signature algorithms', 'MALFORMED', () => ({ outerAlgorithm: ecdsa['P-384'] })],
  ])('%s: %s', async (_, expected, parts) => {
    expect(await refusalOf(judge(parts()))).toBe(expected);
  });

  it('an issuer that may not sign lists signs none', async () => {
    const usage = extension('2.5.29.15', der.bitString(Uint8Array.of(0x04), 2), true);
    const certificates = await chain({ root: { extensions: [caExtensions()[0]!, usage] } });
    const list = parseCertificateList(await crl());
    expect(await refusalOf(verifyChain(certificates, { ...rules, crls: [list] }))).toBe(
      'CHAIN_INVALID',
    );
  });

  it('every truncation is refused with a code', async () => {
    const bytes = await crl({ serials: ['1234'] });
    for (let n = 0; n < bytes.length; n++) {
      expect(await refusalOf(() => parseCertificateList(bytes.subarray(0, n)))).toBe('MALFORMED');
    }
  });
});
