import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import * as der from '#core/asn1/write.js';
import { concat, fromHex } from '#core/bytes.js';
import { noEndorsements, type TrustAnchor } from '#core/rats/endorsements.js';
import { activatedAkType, encodeActivatedKey } from '#core/tpm/ak/activation.js';
import {
  type CertificateContent,
  caExtensions,
  extension,
  issueCrl,
  leafExtensions,
  spkiOf,
} from '../../../fakes/certificates.js';
import { FakeTpm } from '../../../fakes/tpm.js';
import { refusalOf } from '../../../refusal.js';
import {
  ak,
  akCertificate,
  anchor,
  ca,
  caKey,
  material,
  names,
  now,
  root,
  rootKey,
  tpm,
  verify,
} from '../made.js';

describe('step 1: trust in the AK', () => {
  const usage = (bits: string, unused: number) => [
    leafExtensions()[0]!,
    extension(
      '2.5.29.15',
      concat(fromHex(`0302${unused.toString(16).padStart(2, '0')}`), fromHex(bits)),
      true,
    ),
  ];
  const purposes = (...ids: string[]) =>
    extension('2.5.29.37', der.sequence(...ids.map((id) => der.oid(id))));
  const weakRsa = new Uint8Array(
    generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({
      format: 'der',
      type: 'spki',
    }),
  );
  const withAk = async (change: Partial<CertificateContent>, signer = caKey) =>
    verify(material({ certificates: [await akCertificate(change, signer), ca, root] }));
  const rows: [string, () => Promise<unknown>, string][] = [
    [
      'no certificate and no credential',
      () => verify({ ...material(), certificates: [] }),
      'AK_UNTRUSTED',
    ],
    ['a root that is not pinned', () => verify(material(), noEndorsements, []), 'UNTRUSTED_ROOT'],
    [
      'an anchor of another format',
      () => verify(material(), noEndorsements, [{ ...anchor, format: 'snp' }]),
      'UNTRUSTED_ROOT',
    ],
    [
      'a missing intermediate',
      () => verify(material({ certificates: [ak, root] })),
      'UNTRUSTED_ROOT',
    ],
    ['a certificate by another key', () => withAk({}, rootKey), 'CHAIN_INVALID'],
    ['a certificate out of date', () => withAk({ notAfter: now - 1000 }), 'CERT_EXPIRED'],
    ['the certificate of an EK', () => withAk({ extensions: usage('20', 5) }), 'WRONG_KEY_TYPE'],
    [
      'a certificate for signing and decryption',
      () => withAk({ extensions: usage('a0', 5) }),
      'WRONG_KEY_TYPE',
    ],
    [
      'a certificate for TLS',
      () => withAk({ extensions: [...leafExtensions(), purposes('1.3.6.1.5.5.7.3.2')] }),
      'WRONG_KEY_TYPE',
    ],
    ['the certificate of a weak key', () => withAk({ spki: weakRsa }), 'WRONG_KEY_TYPE'],
    ['the certificate of a CA', () => withAk({ extensions: caExtensions() }), 'WRONG_KEY_TYPE'],
    [
      'an unknown critical extension',
      () =>
        withAk({ extensions: [...leafExtensions(), extension('1.2.3', fromHex('0500'), true)] }),
      'UNKNOWN_CRITICAL',
    ],
    [
      'the certificate of another AK',
      () => withAk({ spki: spkiOf(caKey) }),
      'EVIDENCE_SIGNATURE_INVALID',
    ],
    [
      'a revoked certificate',
      async () => {
        const crls = [await issueCrl(caKey, { issuer: names.ca, revoked: [Uint8Array.of(3)] })];
        return verify(material(), { certificates: [], crls });
      },
      'CERT_REVOKED',
    ],
    [
      'a revocation list out of date',
      async () => {
        const crls = [await issueCrl(caKey, { issuer: names.ca, nextUpdate: now - 1000 })];
        return verify(material(), { certificates: [], crls });
      },
      'COLLATERAL_STALE',
    ],
  ];
  it.each(rows)('%s is refused', async (_, work, code) => {
    expect(await refusalOf(work())).toBe(code);
  });

  it('a certificate may name attestation as its purpose (tcg-kp-AIKCertificate)', async () => {
    const extensions = [...leafExtensions(), purposes('1.3.6.1.5.5.7.3.2', '2.23.133.8.3')];
    expect((await withAk({ extensions })).ak.by).toBe('certificate');
  });

  it("an instance of Google Cloud is Google's word, not a maker of TPMs'", async () => {
    const instance = der.sequence(
      der.utf8String('zone'),
      der.integer(1),
      der.utf8String('project'),
      der.integer(2),
      der.utf8String('name'),
    );
    const named = extension('1.3.6.1.4.1.11129.2.1.21', instance);
    const extensions = [...leafExtensions(), named];
    const given = material({ certificates: [await akCertificate({ extensions }), ca, root] });
    const under = (more: Partial<TrustAnchor>) =>
      verify(given, noEndorsements, [{ ...anchor, ...more }]);
    expect((await under({})).ak).toMatchObject({ instance: { projectId: 'project' } });
    expect((await under({ isTpmMaker: true })).ak).toMatchObject({ instance: undefined });
  });

  it('a critical subject alternative name is read over, as EK and AK certificates have it', async () => {
    const san = extension('2.5.29.17', fromHex('3000'), true);
    await withAk({ extensions: [...leafExtensions(), san] });
  });

  const byCredential = (attributes: number | undefined, name: Uint8Array) => {
    const akPublic = attributes === undefined ? tpm.akPublic() : tpm.akPublic(attributes);
    const value = encodeActivatedKey({
      akName: name,
      ekDigest: new Uint8Array(32).fill(7),
      anchorName: 'maker',
      simulated: false,
    });
    const documents = [{ mediaType: activatedAkType, value }];
    return verify(
      { ...material({ akPublic }), certificates: [] },
      { ...noEndorsements, documents },
    );
  };

  it('an AK whose credential this server saw activated is trusted', async () => {
    const claims = await byCredential(undefined, tpm.akName());
    expect(claims).toMatchObject({ simulated: false, ak: { by: 'activated-credential' } });
    expect(claims.chipId).toEqual(new Uint8Array(32).fill(7));
  });

  it('another AK than the activated one is not', async () => {
    const name = new FakeTpm().akName();
    expect(await refusalOf(byCredential(undefined, name))).toBe('AK_UNTRUSTED');
  });

  it('an unrestricted key is no AK, activated or not', async () => {
    const attributes = 0x00040072;
    expect(await refusalOf(byCredential(attributes, tpm.akName(attributes)))).toBe('AK_UNTRUSTED');
  });
});
