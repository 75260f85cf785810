import { CvmpError } from '#core/errors.js';
import type { Endorsements, TrustAnchor } from '#core/rats/endorsements.js';
import { amdRoots } from '#core/snp/endorsement/trust-anchors.js';
import { intelRoots } from '#core/tdx/endorsement/trust-anchors.js';
import { googleRoot } from '#core/tpm/ak/trust-anchors.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { looksLikePem, parsePem } from '#core/x509/pem.js';
import { crypto } from '#crypto';

/** A file of the configuration: its name for messages, and what is in it. */
export interface NamedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Roots of vendors, pinned in the code. */
const vendorRoots: readonly TrustAnchor[] = [...amdRoots, ...intelRoots, googleRoot];

/** Formats whose evidence ends in a certificate. */
const formats = ['snp', 'tdx', 'tpm'] as const;

/**
 * What evidence may end in: the vendors' roots, and those that the configuration adds, each for every
 * format: names and keys of a chain tell which it is of. An added root is never a vendor's: evidence under it counts as simulated, and
 * a Keying Policy admits it only by saying so.
 * @param files root certificates, PEM or DER
 * @throws CvmpError CONFIG
 */
export function trustAnchors(files: readonly NamedFile[]): readonly TrustAnchor[] {
  const added = files.flatMap((file) =>
    blocks(file, 'CERTIFICATE').flatMap((der) => {
      const certificate = wellFormed(file, () => parseCertificate(der, file.name));
      const name = certificate.subject.commonName ?? certificate.subject.text;
      const spkiDigest = crypto.hash('sha256', certificate.spki);
      return formats.map((format) => ({ format, name, spkiDigest }));
    }),
  );
  return [...vendorRoots, ...added];
}

/**
 * Certificates and revocation lists that the Verifier holds itself, for agents whose host gives
 * none along.
 * @param files PEM with any number of CERTIFICATE and X509 CRL blocks
 * @throws CvmpError CONFIG
 */
export function heldEndorsements(files: readonly NamedFile[]): Endorsements {
  return {
    certificates: files.flatMap((file) => blocks(file, 'CERTIFICATE')),
    crls: files.flatMap((file) => (looksLikePem(file.bytes) ? blocks(file, 'X509 CRL') : [])),
  };
}

function blocks(file: NamedFile, label: 'CERTIFICATE' | 'X509 CRL'): readonly Uint8Array[] {
  if (!looksLikePem(file.bytes)) return [file.bytes];
  const all = wellFormed(file, () => parsePem(file.bytes, file.name));
  return all.filter((block) => block.label === label).map((block) => block.der);
}

function wellFormed<T>(file: NamedFile, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    throw new CvmpError('CONFIG', `${file.name}: ${cause.message}`, { cause });
  }
}
