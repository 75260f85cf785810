import { describe, expect, it } from 'vitest';
import { findAuthority } from '#core/boot/authority.js';
import { concat, toHex } from '#core/bytes.js';
import { signatureType } from '#core/eventlog/efi-variable.js';
import { authenticodeDigest, parsePe } from '#core/firmware/pe.js';
import { guidBytes } from '#core/guid.js';
import { crypto } from '#crypto';
import { signatureTable } from '../../fakes/boot.js';
import { type EcAuthority, ecCertificate } from '../../fakes/ec-certificates.js';
import { fakePe } from '../../fakes/pe.js';
import { refusalOf } from '../../refusal.js';

const owner = '11111111-2222-3333-4444-555555555555';
const named = async (name: string): Promise<EcAuthority> => ({
  name,
  key: await crypto.generateEcKey('P-256'),
});
const [root, signer, stranger] = await Promise.all(['root', 'signer', 'stranger'].map(named));
const rootCertificate = await ecCertificate(root!, root!);
const signerCertificate = await ecCertificate(root!, signer!);
const strangerCertificate = await ecCertificate(stranger!, stranger!);

/** EFI_SIGNATURE_LIST with one entry. */
function list(type: string, data: Uint8Array): Uint8Array {
  const sizes = new Uint8Array(12);
  const view = new DataView(sizes.buffer);
  view.setUint32(0, 28 + 16 + data.length, true);
  view.setUint32(8, 16 + data.length, true);
  return concat(guidBytes(type), sizes, guidBytes(owner), data);
}

const sections = [{ name: '.text', data: new Uint8Array(64) }];
const signed = parsePe(fakePe(sections, signatureTable(signerCertificate)));
const entry = (data: Uint8Array) => toHex(concat(guidBytes(owner), data));
const found = async (image: typeof signed, db: Uint8Array) => {
  const authority = await findAuthority(image, db);
  return authority === undefined ? undefined : toHex(authority);
};

describe('the entry of db that admits an image (EDK II DxeImageVerificationLib)', () => {
  it('is the certificate of the signature, or the one that issued it', async () => {
    const strangers = list(signatureType.x509, strangerCertificate);
    const issuer = concat(strangers, list(signatureType.x509, rootCertificate));
    expect(await found(signed, issuer)).toBe(entry(rootCertificate));
    const own = concat(strangers, list(signatureType.x509, signerCertificate));
    expect(await found(signed, own)).toBe(entry(signerCertificate));
    expect(await found(signed, strangers)).toBeUndefined();
  });

  it('a certificate of the same name but another key is none', async () => {
    const impostor = await ecCertificate(
      { name: 'root', key: stranger!.key },
      { name: 'root', key: stranger!.key },
    );
    expect(await found(signed, list(signatureType.x509, impostor))).toBeUndefined();
  });

  it('is the digest of the image where db names that', async () => {
    const image = parsePe(fakePe(sections));
    const digest = authenticodeDigest(image, 'sha256');
    expect(await found(image, list(signatureType.sha256, digest))).toBe(entry(digest));
    expect(await found(image, new Uint8Array())).toBeUndefined();
  });

  it('a signature that is cut off is refused', async () => {
    const whole = signatureTable(signerCertificate);
    const db = list(signatureType.x509, rootCertificate);
    for (let length = 8; length < whole.length; length += 16) {
      const image = parsePe(fakePe(sections, whole.subarray(0, length)));
      expect(await refusalOf(() => findAuthority(image, db))).toBe('MALFORMED');
    }
  });
});
