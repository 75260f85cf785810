import { CvmpError } from '#core/errors.js';
import type { Endorsements, TrustAnchor } from '#core/rats/endorsements.js';
import { appraise, deny } from '#core/snp/appraise.js';
import type { SnpClaims } from '#core/snp/claims.js';
import { amdRoots } from '#core/snp/endorsement/trust-anchors.js';
import { parseReport } from '#core/snp/parse.js';
import { productNames } from '#core/snp/product.js';
import { defaultRules } from '#core/snp/rules.js';
import { verifyReport } from '#core/snp/verify.js';
import { type Certificate, parseCertificate } from '#core/x509/certificate.js';
import { readDerOrPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import type { CaseVerdict } from '../../judge.js';
import { reasonClass } from '../reason-classes.js';

/** What a report is judged by. */
export interface SnpMaterial {
  readonly report: Uint8Array;
  readonly endorsements: Endorsements;
  readonly anchors: readonly TrustAnchor[];
  readonly at: number;
}

/** `accept`, `reject (reason)` or `policy (reason, ...)`: sound, but refused by the default policy. */
export type SnpOutcome = string;

export const rejected = (reason: string): SnpOutcome => `reject (${reason})`;

/**
 * The outcome of verification; with `policy`, of the default policy's fixed rules as well.
 * @param load reads the material; what it throws with a code is a rejection like any other
 */
export async function outcomeOf(load: () => SnpMaterial, policy = false): Promise<SnpOutcome> {
  let claims: SnpClaims;
  try {
    const { report, endorsements, anchors, at } = load();
    claims = await verifyReport(parseReport(report), endorsements, anchors, at);
  } catch (error) {
    if (error instanceof CvmpError) return rejected(reasonClass(error.code));
    throw error;
  }
  if (!policy) return 'accept';
  // Whatever the vectors do not speak about is admitted, so that what they do is alone.
  const rules = {
    ...defaultRules,
    measurements: [{ digest: claims.report.measurement, imageSvn: 0, name: '' }],
    products: productNames,
    cspIds: claims.cspId === undefined ? [] : [claims.cspId],
    allowReportV2: true,
    allowProvisionalFirmware: true,
    allowNoAliasCheck: true,
  };
  const failures = [...deny(claims), ...appraise(claims, rules)];
  if (failures.length === 0) return 'accept';
  return `policy (${failures.map(({ code }) => reasonClass(code)).join(', ')})`;
}

/** Pins the key of this certificate. */
export function pinned(root: Certificate): TrustAnchor {
  const spkiDigest = crypto.hash('sha256', root.spki);
  return { format: 'snp', name: root.subject.text, spkiDigest };
}

/** The pinned AMD roots, under their names in core. */
export const realRoots = amdRoots;

export function certificatesIn(file: Uint8Array): Uint8Array[] {
  return readDerOrPem(file, 'CERTIFICATE', 'certificate file');
}

/** The first certificate of a file. @throws CvmpError MALFORMED */
export function firstIn(file: Uint8Array): Certificate {
  return parseCertificate(certificatesIn(file)[0] ?? new Uint8Array());
}

/**
 * A time inside the validity of all these certificates: where none is stated, the vectors ask for
 * one that the certificates themselves allow. Certificates that do not parse have no say.
 */
export function timeInside(ders: readonly Uint8Array[]): number {
  let [from, to] = [0, Number.MAX_SAFE_INTEGER];
  for (const der of ders) {
    try {
      const { notBefore, notAfter } = parseCertificate(der);
      [from, to] = [Math.max(from, notBefore), Math.min(to, notAfter)];
    } catch (error) {
      if (!(error instanceof CvmpError)) throw error;
    }
  }
  return Math.min(from + 1000, to);
}

export function verdict(name: string, expected: SnpOutcome, actual: SnpOutcome): CaseVerdict {
  return { name, expected, actual, asExpected: expected === actual };
}
