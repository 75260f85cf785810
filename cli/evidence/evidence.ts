import { fromHex, fromUtf8, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { FailedCheck } from '#core/rats/attestation-result.js';
import { joinEndorsements, type TrustAnchor } from '#core/rats/endorsements.js';
import type { VerifiedEvidence } from '#core/rats/verify.js';
import type { SnpClaims } from '#core/snp/claims.js';
import { amdRoots } from '#core/snp/endorsement/trust-anchors.js';
import { snpScheme } from '#core/snp/scheme.js';
import { verifyReport } from '#core/snp/verify.js';
import { parseCertificate } from '#core/x509/certificate.js';
import { looksLikePem, readDerOrPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import { readEvidence, type Tree } from './evidence-text.js';

/** A file as it was read, with its name for messages. */
export interface NamedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What `cvmp evidence verify` is given. */
export interface EvidenceFiles {
  /** Attestation report (1184 bytes) or CMW collection. */
  readonly evidence: NamedFile;
  /** Endorsement key, its issuer, the root: DER, PEM or bundles, in any order. */
  readonly certificates: readonly NamedFile[];
  /** Revocation lists, DER or PEM; enforced where given. */
  readonly crls: readonly NamedFile[];
  /** Undefined: the pinned AMD roots. */
  readonly trustAnchors: NamedFile | undefined;
  /** Time of evaluation, milliseconds since 1970. */
  readonly at: number;
}

/** Whether evidence is genuine, and if not, why not. */
export type EvidenceVerdict =
  | {
      readonly accepted: true;
      /** For appraisal by core/rats/appraise.ts. */
      readonly verified: VerifiedEvidence;
      readonly claims: SnpClaims;
    }
  | {
      readonly accepted: false;
      readonly failure: FailedCheck & {
        /** What the code means in general. */
        readonly next: string;
      };
    };

/**
 * Judges soundness: signatures, chain, certificate against report, validity at the time of
 * evaluation. Not freshness, and not whether this is the CVM that somebody wants.
 * @throws CvmpError USAGE where the trust anchors are none: that is not the evidence's fault
 */
export async function verifyEvidenceFiles(files: EvidenceFiles): Promise<EvidenceVerdict> {
  const anchors =
    files.trustAnchors === undefined ? amdRoots : readTrustAnchors(files.trustAnchors);
  try {
    const { report, endorsements } = readEvidence(files.evidence.bytes);
    const read = (label: string) => (file: NamedFile) => readDerOrPem(file.bytes, label, file.name);
    const given = {
      certificates: files.certificates.flatMap(read('CERTIFICATE')),
      crls: files.crls.flatMap(read('X509 CRL')),
    };
    const all = joinEndorsements(given, endorsements);
    const claims = await verifyReport(report, all, anchors, files.at);
    const evidenceDigest = crypto.hash('sha256', files.evidence.bytes);
    return { accepted: true, claims, verified: { scheme: snpScheme, claims, evidenceDigest } };
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    const { code, message, field = 'evidence', next } = error;
    return { accepted: false, failure: { code, check: field, message, next } };
  }
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
  return readDerOrPem(bytes, 'CERTIFICATE', name).map((der) => {
    const { subject, spki } = parseCertificate(der, name);
    return { format: 'snp', name: subject.text, spkiDigest: crypto.hash('sha256', spki) };
  });
}

function jsonAnchors(bytes: Uint8Array, file: string): TrustAnchor[] {
  const { anchors } = (JSON.parse(fromUtf8(bytes, file)) ?? {}) as { anchors?: unknown };
  if (!Array.isArray(anchors)) throw new CvmpError('MALFORMED', '"anchors" is not a list');
  return anchors.map((anchor: { name?: unknown; spki_sha256?: unknown } | null, i) => {
    const { name, spki_sha256: spki } = anchor ?? {};
    if (typeof name !== 'string' || typeof spki !== 'string' || spki.length !== 64) {
      throw new CvmpError(
        'MALFORMED',
        `anchors[${i}] needs "name" and "spki_sha256" (64 hex digits)`,
      );
    }
    return { format: 'snp', name, spkiDigest: fromHex(spki, `anchors[${i}].spki_sha256`) };
  });
}

/** The claims that people look at first. */
export function claimsTree(claims: SnpClaims): Tree {
  const { report } = claims;
  return {
    format: claims.format,
    product: claims.product,
    simulated: claims.simulated,
    report_version: report.version,
    signing_key: claims.signingKey,
    ...(claims.cspId === undefined ? {} : { csp_id: claims.cspId }),
    chip_id: claims.chipId === undefined ? 'hidden' : toHex(claims.chipId),
    measurement: toHex(report.measurement),
    report_data: toHex(report.reportData),
    host_data: toHex(report.hostData),
    guest_svn: report.guestSvn,
    guest_policy: `0x${report.guestPolicy.toString(16)}`,
    vmpl: report.vmpl,
    reported_tcb: { ...claims.reportedTcb },
    committed_tcb: { ...claims.committedTcb },
    launch_tcb: { ...claims.launchTcb },
    endorsement_key_sha256: toHex(claims.endorsementDigest),
  };
}
