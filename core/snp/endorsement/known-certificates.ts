import { crypto } from '#crypto';
import { toHex } from '../../bytes.js';
import { type Certificate, parseCertificate } from '../../x509/certificate.js';
import type { KnownSignatures } from '../../x509/chain.js';

/** Chips whose certificates are remembered; a certificate is about 2 kB. */
const certificatesMax = 1024;

/**
 * Certificates of chains that were verified before, by digest. Who signed what never changes, so it
 * is not computed again for the same bytes; what can change (trust anchors, dates, revocation, and
 * the report itself) is judged every time. Only verified chains enter, so nobody without a genuine
 * chain can fill it.
 */
const known = new Map<string, Certificate>();
const signers = new WeakMap<Certificate, Certificate>();

/** Parses a certificate, or gives the one that was verified before. @throws as parseCertificate */
export function knownCertificate(der: Uint8Array, path: string): Certificate {
  return known.get(digestOf(der)) ?? parseCertificate(der, path);
}

/** Remembers a verified chain, leaf first, in copies that nobody else can change. */
export function rememberChain(chain: readonly Certificate[]): void {
  const copies = chain.map((certificate) => {
    const digest = digestOf(certificate.der);
    const copy = known.get(digest) ?? parseCertificate(certificate.der.slice(), 'certificate');
    // Last in, last out.
    known.delete(digest);
    known.set(digest, copy);
    return copy;
  });
  for (const [i, copy] of copies.entries()) signers.set(copy, copies[i + 1] ?? copy);
  for (const oldest of known.keys()) {
    if (known.size <= certificatesMax) break;
    known.delete(oldest);
  }
}

/** What {@link rememberChain} saw. */
export const knownSignatures: KnownSignatures = {
  has: (certificate, signer) => signers.get(certificate) === signer,
};

function digestOf(der: Uint8Array): string {
  return toHex(crypto.hash('sha256', der));
}
