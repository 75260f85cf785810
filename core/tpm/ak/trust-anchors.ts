import { crypto } from '#crypto';
import { equalBytes, fromHex } from '../../bytes.js';
import type { TrustAnchor } from '../../rats/endorsements.js';
import type { Certificate } from '../../x509/certificate.js';

/**
 * EK/AK CA Root of Google Cloud, by SHA-256 over its SubjectPublicKeyInfo. Google publishes the
 * certificate at the AIA address of its EK and AK certificates. Roots of TPM vendors are many; who
 * runs such TPMs configures theirs.
 */
export const googleRoot: TrustAnchor = {
  format: 'tpm',
  name: 'Google EK/AK CA Root',
  spkiDigest: fromHex('56a613f57126a385dd6949294e93b0b566f96ab0573be0c2368e6f5ca779831f'),
};

/** The anchor that pins the key of a root, if any. */
export function anchorOf(
  root: Certificate,
  anchors: readonly TrustAnchor[],
): TrustAnchor | undefined {
  const digest = crypto.hash('sha256', root.spki);
  return anchors.find((a) => a.format === 'tpm' && equalBytes(a.spkiDigest, digest));
}
