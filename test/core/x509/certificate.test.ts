import { beforeAll, describe, expect, it } from 'vitest';
import * as der from '#core/asn1/write.js';
import { concat, toHex } from '#core/bytes.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';
import {
  type CertificateParts,
  caExtensions,
  commonName,
  type EcAuthority,
  ecCertificate,
  ecdsa,
  extension,
} from '../../fakes/ec-certificates.js';
import { simulatedAuthority, testTime } from '../../fakes/simulated-hardware.js';
import { refusalOf } from '../../refusal.js';

let ca: EcAuthority;
let leaf: EcAuthority;
beforeAll(async () => {
  ca = { key: await crypto.generateEcKey('P-256'), name: 'Test CA' };
  leaf = { key: await crypto.generateEcKey('P-256'), name: 'Test leaf' };
});

describe('certificate (RFC 5280 s.4.1)', () => {
  it('an ECDSA certificate is read field by field', async () => {
    const bytes = await ecCertificate(ca, leaf, { extensions: caExtensions(3) });
    const certificate = parseCertificate(bytes);
    expect(certificate).toMatchObject({
      der: bytes,
      subject: { text: 'CN=Test leaf', commonName: 'Test leaf' },
      issuer: { text: 'CN=Test CA' },
      notBefore: Date.UTC(2020, 0, 1),
      notAfter: Date.UTC(2040, 0, 1),
      publicKey: { kind: 'ec', curve: 'P-256' },
      signatureScheme: { algorithm: 'ES256' },
      basicConstraints: { ca: true, pathLength: 3 },
    });
    expect(toHex(certificate.serial)).toBe('07');
    expect(certificate.extensions.size).toBe(2);
  });

  it("AMD's form is read: RSASSA-PSS, RSA-4096 issuers, serial 0", async () => {
    const authority = await simulatedAuthority();
    const root = parseCertificate(authority.arkCertificate);
    expect(root.publicKey).toEqual({ kind: 'rsa', modulusBits: 4096 });
    expect(root.signatureScheme.algorithm).toBe('PS384');
    expect(root.subject.commonName).toBe('ARK-Genoa');
    const point = (await crypto.generateEcKey('P-384')).publicPoint;
    const tcb = { fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 200 };
    const vcek = authority.issueVcek({ point, hwId: new Uint8Array(64), tcb }, testTime);
    expect(toHex(parseCertificate(vcek).serial)).toBe('00');
  });

  it.each<[tail: Uint8Array[], algorithm: string | undefined]>([
    [[der.explicit(3, der.integer(1))], 'PS384'],
    [[], 'PS384'],
  ])(
    'a trailer field that is written out is tolerated, as older VCEKs have it',
    async (tail, algorithm) => {
      const hash = der.sequence(der.oid('2.16.840.1.101.3.4.2.2'), der.nullValue());
      const mgf = der.sequence(der.oid('1.2.840.113549.1.1.8'), hash);
      const parameters = der.sequence(
        der.explicit(0, hash),
        der.explicit(1, mgf),
        der.explicit(2, der.integer(48)),
        ...tail,
      );
      const pss = der.sequence(der.oid('1.2.840.113549.1.1.10'), parameters);
      const { signatureScheme } = parseCertificate(
        await ecCertificate(ca, leaf, { algorithm: pss }),
      );
      expect(signatureScheme.algorithm).toBe(algorithm);
    },
  );

  const hash384 = der.sequence(der.oid('2.16.840.1.101.3.4.2.2'), der.nullValue());
  const hash256 = der.sequence(der.oid('2.16.840.1.101.3.4.2.1'), der.nullValue());
  const mgf = (hash: Uint8Array) =>
    der.explicit(1, der.sequence(der.oid('1.2.840.113549.1.1.8'), hash));
  const pss = (...parameters: Uint8Array[]) =>
    der.sequence(der.oid('1.2.840.113549.1.1.10'), der.sequence(...parameters));

  it.each<[why: string, algorithm: Uint8Array]>([
    ['PSS with its defaults (SHA-1)', pss()],
    [
      'PSS with another salt length',
      pss(der.explicit(0, hash384), mgf(hash384), der.explicit(2, der.integer(32))),
    ],
    [
      'PSS with two hashes',
      pss(der.explicit(0, hash384), mgf(hash256), der.explicit(2, der.integer(48))),
    ],
    ['RSA with SHA-1', der.sequence(der.oid('1.2.840.113549.1.1.5'), der.nullValue())],
    ['Ed25519', der.sequence(der.oid('1.3.101.112'))],
  ])('%s is read as no algorithm, so that it verifies nothing', async (_, algorithm) => {
    const { signatureScheme } = parseCertificate(await ecCertificate(ca, leaf, { algorithm }));
    expect(signatureScheme.algorithm).toBeUndefined();
  });

  const spkiOf = (...elements: Uint8Array[]) => der.sequence(...elements);
  const ec = (curve: string) => der.sequence(der.oid('1.2.840.10045.2.1'), der.oid(curve));
  const point = (length: number) => der.bitString(new Uint8Array(length).fill(4));
  const rsa = der.sequence(der.oid('1.2.840.113549.1.1.1'), der.nullValue());
  const rsaKey = (exponent: number) =>
    der.bitString(der.sequence(der.integer(new Uint8Array(256).fill(0xc1)), der.integer(exponent)));

  const hostile: [why: string, code: ErrorCode, parts: () => Partial<CertificateParts>][] = [
    ['version 1', 'MALFORMED', () => ({ version: der.explicit(0, der.integer(0)) })],
    ['no version', 'MALFORMED', () => ({ version: new Uint8Array() })],
    ['a serial of 21 bytes', 'SIZE', () => ({ serial: der.integer(new Uint8Array(21).fill(1)) })],
    ['a negative serial', 'MALFORMED', () => ({ serial: Uint8Array.of(2, 1, 0xff) })],
    ['two signature algorithms', 'MALFORMED', () => ({ outerAlgorithm: ecdsa['P-384'] })],
    [
      'parameters of ECDSA',
      'MALFORMED',
      () => ({ algorithm: der.sequence(der.oid('1.2.840.10045.4.3.2'), der.nullValue()) }),
    ],
    [
      'a trailer field of 2',
      'MALFORMED',
      () => ({
        algorithm: pss(
          der.explicit(0, hash384),
          mgf(hash384),
          der.explicit(2, der.integer(48)),
          der.explicit(3, der.integer(2)),
        ),
      }),
    ],
    ['an empty extension list', 'MALFORMED', () => ({ extensions: [] })],
    [
      'an extension twice',
      'MALFORMED',
      () => ({ extensions: [...caExtensions(), ...caExtensions()] }),
    ],
    [
      'critical FALSE written out',
      'NOT_CANONICAL',
      () => ({
        extensions: [
          der.sequence(der.oid('1.2.3'), der.boolean(false), der.octetString(new Uint8Array())),
        ],
      }),
    ],
    [
      '65 extensions',
      'SIZE',
      () => ({
        extensions: Array.from({ length: 65 }, (_, i) => extension(`1.2.${i}`, new Uint8Array())),
      }),
    ],
    [
      'a path length of a leaf',
      'MALFORMED',
      () => ({ extensions: [extension('2.5.29.19', der.sequence(der.integer(1)))] }),
    ],
    ['unique identifiers', 'MALFORMED', () => ({ more: [der.explicit(1, der.integer(1))] })],
    ['an element after the signature', 'MALFORMED', () => ({ afterSignature: [der.nullValue()] })],
    ['an empty RDN', 'MALFORMED', () => ({ subject: der.sequence(der.setOf()) })],
    ['a name with a NUL', 'MALFORMED', () => ({ subject: commonName('a\u0000b') })],
    ['an unordered RDN', 'NOT_CANONICAL', () => ({ subject: der.sequence(unorderedSet()) })],
    [
      'a compressed point',
      'MALFORMED',
      () => ({ spki: spkiOf(ec('1.2.840.10045.3.1.7'), point(33)) }),
    ],
    [
      'a point of another length',
      'MALFORMED',
      () => ({ spki: spkiOf(ec('1.3.132.0.34'), point(65)) }),
    ],
    ['an even RSA exponent', 'MALFORMED', () => ({ spki: spkiOf(rsa, rsaKey(65536)) })],
    ['an RSA exponent of 1', 'MALFORMED', () => ({ spki: spkiOf(rsa, rsaKey(1)) })],
    ['a validity of one date', 'MALFORMED', () => ({ validity: der.sequence(der.time(testTime)) })],
  ];
  it.each(hostile)('refuses %s (%s)', async (_, code, parts) => {
    const bytes = await ecCertificate(ca, leaf, parts());
    expect(await refusalOf(() => parseCertificate(bytes))).toBe(code);
  });

  it('keys of other kinds are read as such', async () => {
    const other = spkiOf(der.sequence(der.oid('1.3.101.112')), point(32));
    const certificate = parseCertificate(await ecCertificate(ca, leaf, { spki: other }));
    expect(certificate.publicKey.kind).toBe('other');
  });

  it('every truncation is refused with a code', async () => {
    const bytes = await ecCertificate(ca, leaf, { extensions: caExtensions() });
    for (let n = 0; n < bytes.length; n++) {
      expect(await refusalOf(() => parseCertificate(bytes.subarray(0, n)))).toBe('MALFORMED');
    }
    expect(await refusalOf(() => parseCertificate(concat(bytes, Uint8Array.of(0))))).toBe(
      'MALFORMED',
    );
  });

  it('every changed byte gives a certificate or a coded error, never a crash', async () => {
    const bytes = await ecCertificate(ca, leaf, { extensions: caExtensions() });
    for (let i = 0; i < bytes.length; i++) {
      for (const bits of [0x01, 0x80, 0xff]) {
        const changed = bytes.slice();
        changed[i]! ^= bits;
        try {
          parseCertificate(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(CvmpError);
        }
      }
    }
  });
});

function unorderedSet(): Uint8Array {
  const attribute = (oid: string) => der.sequence(der.oid(oid), der.utf8String('x'));
  return der.element(0x31, attribute('2.5.4.11'), attribute('2.5.4.3'));
}
