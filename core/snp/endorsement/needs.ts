import { concat, equalBytes, isZero } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import type { EndorsementNeed, Endorsements } from '../../rats/endorsements.js';
import type { Certificate } from '../../x509/certificate.js';
import { knownList } from '../../x509/known-certificates.js';
import type { SnpReport } from '../parse.js';
import {
  decodeTcb,
  differingComponent,
  productNamed,
  productOf,
  products,
  type SnpProduct,
} from '../product.js';
import { parseCertificates } from './chain.js';
import { type EndorsementKeyInfo, readEndorsementKeyInfo } from './extensions.js';

/**
 * What AMD publishes for this report: the VCEK of its chip and REPORTED_TCB, the certificates above
 * it, and their revocation list. A VLEK is given to providers alone and has to come along. A report
 * before version 3 names no product: then its certificate must.
 * @param endorsements all that is there already
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE
 */
export function snpNeeds(
  report: SnpReport,
  endorsements: Endorsements,
): readonly EndorsementNeed[] {
  const certificates = parseCertificates(endorsements);
  const product = productFor(report, certificates);
  const { signingKey, maskChipKey } = report.keyInfo;
  if (product === undefined || (signingKey !== 'VCEK' && signingKey !== 'VLEK')) return [];
  const signer = signingKey === 'VLEK' ? 'vlek' : 'vcek';
  const has = (name: string) => certificates.some((c) => c.subject.commonName === name);
  const root = `ARK-${product}`;
  const hasCrl = endorsements.crls.some(
    (der, i) => knownList(der, `revocation list ${i + 1}`).issuer.commonName === root,
  );
  const issuer = signer === 'vlek' ? `SEV-VLEK-${product}` : `SEV-${product}`;
  const needs: EndorsementNeed[] = [
    { statement: { kind: 'amd-chain', product, signer }, isCarried: has(issuer) && has(root) },
    { statement: { kind: 'amd-crl', product, signer }, isCarried: hasCrl },
  ];
  if (signer === 'vlek' || maskChipKey || isZero(report.chipId)) return needs;
  const hwId = report.chipId.slice(0, products[product].hwidLength);
  const tcb = decodeTcb(product, report.reportedTcb, 'REPORTED_TCB');
  const isCarried = certificates.some((c) => endorses(c, report));
  return [{ statement: { kind: 'amd-vcek', product, hwId, tcb }, isCarried }, ...needs];
}

/** Whether a certificate says that it is of the chip and REPORTED_TCB of a report; not verified. */
export function endorses(certificate: Certificate, report: SnpReport): boolean {
  const info = infoOf(certificate);
  const product = productNamed(info?.productName ?? '');
  if (info === undefined || product === undefined) return false;
  const tcb = ifSound(() => decodeTcb(product, report.reportedTcb, 'REPORTED_TCB'));
  if (tcb === undefined || differingComponent(info.tcb, tcb) !== undefined) return false;
  if (info.hwId === undefined) return true;
  const padded = concat(info.hwId, new Uint8Array(report.chipId.length - info.hwId.length));
  return equalBytes(padded, report.chipId);
}

function productFor(
  { cpuid }: SnpReport,
  certificates: readonly Certificate[],
): SnpProduct | undefined {
  if (cpuid !== undefined) return productOf(cpuid);
  const info = certificates.map(infoOf).find((found) => found !== undefined);
  return productNamed(info?.productName ?? '');
}

/** Undefined for any other certificate. */
function infoOf(certificate: Certificate): EndorsementKeyInfo | undefined {
  if (certificate.basicConstraints.ca) return undefined;
  return ifSound(() => readEndorsementKeyInfo(certificate));
}

function ifSound<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CvmpError) return undefined;
    throw error;
  }
}
