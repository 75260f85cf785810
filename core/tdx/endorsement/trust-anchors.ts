import { crypto } from '#crypto';
import { equalBytes, fromHex } from '../../bytes.js';
import type { TrustAnchor } from '../../rats/endorsements.js';
import type { Certificate } from '../../x509/certificate.js';

/**
 * Intel SGX Root CA of all production platforms, by SHA-256 over its SubjectPublicKeyInfo. Intel
 * publishes the certificate at https://certificates.trustedservices.intel.com/IntelSGXRootCA.der.
 */
export const intelRoots: readonly TrustAnchor[] = [
  {
    format: 'tdx',
    name: 'Intel SGX Root CA',
    spkiDigest: fromHex('a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e'),
  },
];

/** The anchor that pins the key of a root, if any. */
export function anchorOf(
  root: Certificate,
  anchors: readonly TrustAnchor[],
): TrustAnchor | undefined {
  const digest = crypto.hash('sha256', root.spki);
  return anchors.find((a) => a.format === 'tdx' && equalBytes(a.spkiDigest, digest));
}
