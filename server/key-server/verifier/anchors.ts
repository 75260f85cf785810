import type { TrustAnchor } from '#core/rats/endorsements.js';
import { amdRoots } from '#core/snp/endorsement/trust-anchors.js';
import { intelRoots } from '#core/tdx/endorsement/trust-anchors.js';
import { googleRoot } from '#core/tpm/ak/trust-anchors.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { crypto } from '#crypto';
import { blocks, type NamedFile, wellFormed } from './named-file.js';

/** Roots that the configuration adds to those that are pinned in the code. */
export interface AddedRoots {
  /** Of anybody's; evidence under them counts as simulated. */
  readonly roots: readonly NamedFile[];
  /** Of makers of TPMs, and of clouds whose vTPMs the Key Server's owner trusts. */
  readonly tpmMakers: readonly NamedFile[];
}

/** Formats whose chains end in certificates. */
const certifiedFormats = ['snp', 'tdx', 'tpm'];

/**
 * What evidence may end in: the roots of AMD, Intel and Google's TPMs, which are pinned in the code,
 * and the roots that the configuration adds. An added root is never a vendor's: evidence under it
 * counts as simulated, and a Keying Policy admits it only by saying so. Makers of TPMs are too many
 * to be pinned; who names one here says that its TPMs are real.
 * @throws CvmpError CONFIG
 */
export function trustAnchors({ roots, tpmMakers }: AddedRoots): readonly TrustAnchor[] {
  return [
    ...amdRoots,
    ...intelRoots,
    googleRoot,
    ...rootsOf(tpmMakers).map((root) => ({ ...root, format: 'tpm', isTpmMaker: true })),
    ...rootsOf(roots).flatMap((root) => certifiedFormats.map((format) => ({ ...root, format }))),
  ];
}

function rootsOf(files: readonly NamedFile[]): readonly Omit<TrustAnchor, 'format'>[] {
  return files.flatMap((file) =>
    blocks(file, 'CERTIFICATE').map((der) => {
      const { subject, spki } = wellFormed(file, () => parseCertificate(der, file.name));
      return {
        name: subject.commonName ?? subject.text,
        spkiDigest: crypto.hash('sha256', spki),
      };
    }),
  );
}
