import { fromHex, fromUtf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { TrustAnchor } from '#core/rats/endorsements.js';
import { amdRoots } from '#core/snp/endorsement/trust-anchors.js';
import { intelRoots } from '#core/tdx/endorsement/trust-anchors.js';
import { googleRoot } from '#core/tpm/ak/trust-anchors.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { looksLikePem, readDerOrPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import type { NamedFile } from './pieces.js';

/** Roots of AMD, Intel and Google's TPMs, pinned in the code. */
export const vendorRoots: readonly TrustAnchor[] = [...amdRoots, ...intelRoots, googleRoot];

/** Formats whose chains end in certificates. */
const certifiedFormats = ['snp', 'tdx', 'tpm'];

function everyFormat(name: string, spkiDigest: Uint8Array): readonly TrustAnchor[] {
  return certifiedFormats.map((format) => ({ format, name, spkiDigest }));
}

/**
 * Trust anchors: PEM certificates whose keys are pinned, or JSON
 * `{"anchors": [{"name": TEXT, "spki_sha256": HEX}]}` (SHA-256 over the SubjectPublicKeyInfo).
 * @throws CvmpError USAGE
 */
export function readTrustAnchors({ name, bytes }: NamedFile): readonly TrustAnchor[] {
  try {
    const anchors = looksLikePem(bytes) ? pemAnchors(bytes, name) : jsonAnchors(bytes, name);
    if (anchors.length === 0) throw new CvmpError('MALFORMED', 'no anchor in it');
    return anchors;
  } catch (cause) {
    if (!(cause instanceof CvmpError || cause instanceof SyntaxError)) throw cause;
    const why = `${name} is no file of trust anchors: ${cause.message}`;
    throw new CvmpError('USAGE', why, { cause });
  }
}

function pemAnchors(bytes: Uint8Array, name: string): TrustAnchor[] {
  return readDerOrPem(bytes, 'CERTIFICATE', name).flatMap((der) => {
    const { subject, spki } = parseCertificate(der, name);
    return everyFormat(subject.text, crypto.hash('sha256', spki));
  });
}

function jsonAnchors(bytes: Uint8Array, file: string): TrustAnchor[] {
  const { anchors } = (JSON.parse(fromUtf8(bytes, file)) ?? {}) as { anchors?: unknown };
  if (!Array.isArray(anchors)) throw new CvmpError('MALFORMED', '"anchors" is not a list');
  return anchors.flatMap((anchor: { name?: unknown; spki_sha256?: unknown } | null, i) => {
    const { name, spki_sha256: spki } = anchor ?? {};
    if (typeof name !== 'string' || typeof spki !== 'string' || spki.length !== 64) {
      throw new CvmpError(
        'MALFORMED',
        `anchors[${i}] needs "name" and "spki_sha256" (64 hex digits)`,
      );
    }
    return everyFormat(name, fromHex(spki, `anchors[${i}].spki_sha256`));
  });
}
