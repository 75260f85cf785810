import { beforeAll, describe, expect, it } from 'vitest';
import { fromHex, utf8 } from '#core/bytes.js';
import { isEkCertificate, makeCredential } from '#core/tpm/ak/credential.js';
import { type Certificate, parseCertificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';
import {
  caExtensions,
  commonName,
  extension,
  issueCertificate,
  leafExtensions,
} from '../../../fakes/certificates.js';
import { FakeEk, FakeTpm } from '../../../fakes/tpm.js';
import { refusalOf } from '../../../refusal.js';

const name = commonName('EK');
const signer = await crypto.generateEcKey('P-256');
const keyUsage = (bits: string) => extension('2.5.29.15', fromHex(`030200${bits}`), true);
const ekUsage = (hex: string) => extension('2.5.29.37', fromHex(hex));

async function certificateOf(spki: Uint8Array, extensions: Uint8Array[]): Promise<Certificate> {
  const der = await issueCertificate(signer, { issuer: name, subject: name, spki, extensions });
  return parseCertificate(der);
}

const kinds = ['rsa', 'P-256', 'P-384'] as const;
const eks = Object.fromEntries(kinds.map((kind) => [kind, new FakeEk(kind)])) as Record<
  (typeof kinds)[number],
  FakeEk
>;
const ak = new FakeTpm();
const secret = crypto.randomBytes(32);

let certificates: Record<(typeof kinds)[number], Certificate>;
beforeAll(async () => {
  const made = kinds.map(async (kind) => [
    kind,
    await certificateOf(eks[kind].spki, leafExtensions()),
  ]);
  certificates = Object.fromEntries(await Promise.all(made));
});

describe('MakeCredential (TPM 2.0 Part 1 s.24; protocol.md s.4, AK trust a)', () => {
  it.each(kinds)('the TPM with an EK on %s opens it for this AK', async (kind) => {
    const made = await makeCredential(certificates[kind], ak.akName(), secret);
    const { credentialBlob, encryptedSecret } = made;
    const opened = await eks[kind].activate(ak.akName(), credentialBlob, encryptedSecret);
    expect(opened).toEqual(secret);
  });

  it.each(kinds)('with an EK on %s no other AK can be activated', async (kind) => {
    const made = await makeCredential(certificates[kind], ak.akName(), secret);
    const other = new FakeTpm().akName();
    const { credentialBlob, encryptedSecret } = made;
    expect(await eks[kind].activate(other, credentialBlob, encryptedSecret)).toBeUndefined();
  });

  it('no two credentials are the same', async () => {
    const make = () => makeCredential(certificates['P-256'], ak.akName(), secret);
    expect((await make()).credentialBlob).not.toEqual((await make()).credentialBlob);
  });

  it('a secret longer than a digest is refused', async () => {
    const work = makeCredential(certificates.rsa, ak.akName(), new Uint8Array(33));
    expect(await refusalOf(work)).toBe('SIZE');
  });

  it('an EK of another kind is refused', async () => {
    const other = { ...certificates.rsa, publicKey: { kind: 'other', oid: '1.2.3' } } as const;
    expect(await refusalOf(makeCredential(other, ak.akName(), secret))).toBe('WRONG_KEY_TYPE');
  });
});

describe('which certificate is of an EK (TCG EK Credential Profile s.3.2)', () => {
  const tcgEk = '30070605678105080 1'.replace(' ', '');
  const rows: [string, (typeof kinds)[number], Uint8Array[], boolean][] = [
    ['RSA for key encipherment', 'rsa', [keyUsage('20')], true],
    ['EC for key agreement', 'P-256', [keyUsage('08')], true],
    ['with the usage of EK certificates', 'rsa', [keyUsage('20'), ekUsage(tcgEk)], true],
    ['RSA for key agreement', 'rsa', [keyUsage('08')], false],
    ['for signing too', 'rsa', [keyUsage('a0')], false],
    ['for signing', 'rsa', [keyUsage('80')], false],
    [
      'with another extended usage',
      'rsa',
      [keyUsage('20'), ekUsage('300a06082b06010505070301')],
      false,
    ],
    ['without key usage', 'rsa', [leafExtensions()[0]!], false],
    ['of a CA', 'rsa', caExtensions(), false],
  ];
  it.each(rows)('%s', async (_, kind, extensions, expected) => {
    expect(isEkCertificate(await certificateOf(eks[kind].spki, extensions))).toBe(expected);
  });
});

describe('primitives of the credential (core/crypto.ts)', () => {
  it('a plaintext that does not fit, or no RSA key, is refused', async () => {
    const label = utf8('IDENTITY\0');
    const long = crypto.rsaOaepEncrypt('sha256', eks.rsa.spki, label, new Uint8Array(256));
    expect(await refusalOf(long)).toBe('MALFORMED');
    const ec = crypto.rsaOaepEncrypt('sha256', eks['P-256'].spki, label, secret);
    expect(await refusalOf(ec)).toBe('MALFORMED');
  });

  it('AES-CFB (NIST SP 800-38A F.3.13)', () => {
    const key = fromHex('2b7e151628aed2a6abf7158809cf4f3c');
    const iv = fromHex('000102030405060708090a0b0c0d0e0f');
    const plaintext = fromHex('6bc1bee22e409f96e93d7e117393172aae2d');
    const sealed = fromHex('3b3fd92eb72dad20333449f8e83cfb4ac8a6');
    expect(crypto.aesCfbEncrypt(key, iv, plaintext)).toEqual(sealed);
  });
});
