import { crypto } from '#crypto';
import { equalBytes } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import type { Endorsements, TrustAnchor } from '../../rats/endorsements.js';
import type { Certificate } from '../../x509/certificate.js';
import { type Chain, isCurrent, verifyChain } from '../../x509/chain.js';
import type { CertificateList } from '../../x509/crl.js';
import {
  knownCertificate,
  knownList,
  knownSignatures,
  rememberChain,
} from '../../x509/known-certificates.js';
import { sameName } from '../../x509/name.js';
import type { SigningKey } from '../parse.js';
import { endorsementOid } from './extensions.js';

/** The certificates that a report is verified by. */
export interface EndorsementChain {
  /** VCEK or VLEK. */
  readonly leaf: Certificate;
  /** ASK or ASVK. */
  readonly intermediate: Certificate;
  /** ARK. */
  readonly root: Certificate;
  readonly anchor: TrustAnchor;
}

/** More certificates or lists than this are refused, sent and held ones together. */
const certificatesMax = 128;

/** AMD signs with nothing else. */
const algorithms = ['PS384'] as const;
/** Modulus of ARK, ASK and ASVK. */
const rsaBits = 4096;

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function parseCertificates(endorsements: Endorsements): readonly Certificate[] {
  const { certificates, crls } = endorsements;
  if (certificates.length > certificatesMax || crls.length > certificatesMax) {
    throw new CvmpError('SIZE', `more than ${certificatesMax} certificates or revocation lists`);
  }
  const parsed: Certificate[] = [];
  for (const der of certificates) {
    if (parsed.some((known) => equalBytes(known.der, der))) continue;
    parsed.push(knownCertificate(der, `certificate ${parsed.length + 1}`));
  }
  return parsed;
}

/**
 * Finds the roles among certificates in any order. Roles come from names and the CA flag alone, and
 * each is verified afterwards, so a wrong guess costs no more than a refusal.
 *
 * The root comes first: evidence under an unknown root is not looked into any further.
 * @param isWanted tells among several endorsement keys the one of the report
 * @throws CvmpError CHAIN_INVALID where one is missing, UNTRUSTED_ROOT, WRONG_KEY_TYPE
 */
export function assembleChain(
  certificates: readonly Certificate[],
  signingKey: SigningKey,
  anchors: readonly TrustAnchor[],
  isWanted: (leaf: Certificate) => boolean = () => true,
): EndorsementChain {
  const leaf = findLeaf(certificates, signingKey, isWanted);
  const intermediate = certificates.find(
    (c) => c !== leaf && !isSelfIssued(c) && sameName(c.subject, leaf.issuer),
  );
  const { root, anchor } = findRoot(certificates, leaf, intermediate, anchors);
  requireKey(leaf, 'leaf');
  if (intermediate === undefined) {
    if (sameName(leaf.issuer, root.subject)) {
      throw missing(`an ASK or ASVK between ${leaf.subject.text} and its root`);
    }
    throw missing(`the certificate of ${leaf.issuer.text}, which issued ${leaf.subject.text}`);
  }
  requireKey(intermediate, 'intermediate');
  requireKey(root, 'root');
  return { leaf, intermediate, root, anchor };
}

function isSelfIssued(certificate: Certificate): boolean {
  return sameName(certificate.issuer, certificate.subject);
}

/** The certificate that issued none of the others; among several the one that is no CA. */
function findLeaf(
  certificates: readonly Certificate[],
  signingKey: SigningKey,
  isWanted: (leaf: Certificate) => boolean,
): Certificate {
  const ends = certificates.filter(
    (c) => !isSelfIssued(c) && !certificates.some((other) => sameName(other.issuer, c.subject)),
  );
  const keys = ends.filter((c) => !c.basicConstraints.ca);
  // A certificate table may hold both; which one signed is what the report says.
  const isVlek = (c: Certificate) => c.extensions.has(endorsementOid.cspId);
  const ofKind = keys.filter((c) => isVlek(c) === (signingKey === 'VLEK'));
  // A host may still give the certificate of the TCB before an update along, and the Verifier hold
  // those of many chips.
  const wanted = ofKind.length > 1 ? ofKind.find(isWanted) : undefined;
  const leaf = wanted ?? ofKind[0] ?? keys[0] ?? ends[0];
  if (leaf === undefined) throw missing('the endorsement key certificate (VCEK or VLEK)');
  return leaf;
}

/** The pinned root: the one that the intermediate names, or any. */
function findRoot(
  certificates: readonly Certificate[],
  leaf: Certificate,
  intermediate: Certificate | undefined,
  anchors: readonly TrustAnchor[],
): Pick<EndorsementChain, 'root' | 'anchor'> {
  const roots = certificates.filter(isSelfIssued);
  const named = intermediate?.issuer;
  if (roots.length === 0) {
    const above = named?.text ?? `${leaf.issuer.text} and of its root (ARK)`;
    throw missing(`the certificate of ${above}`);
  }
  const pinned = roots.flatMap((root) => {
    const digest = crypto.hash('sha256', root.spki);
    const anchor = anchors.find((a) => a.format === 'snp' && equalBytes(a.spkiDigest, digest));
    return anchor === undefined ? [] : [{ root, anchor }];
  });
  const match = pinned.find(({ root }) => named !== undefined && sameName(root.subject, named));
  const found = match ?? pinned[0];
  if (found === undefined) {
    const names = roots.map((root) => root.subject.text).join('; ');
    throw new CvmpError('UNTRUSTED_ROOT', `no trust anchor has the key of ${names}`, {
      field: 'root',
    });
  }
  return found;
}

/** Endorsement keys are on P-384, the keys above them RSA of 4096 bits. */
function requireKey(certificate: Certificate, field: 'leaf' | 'intermediate' | 'root'): void {
  const { publicKey, subject } = certificate;
  const fits =
    field === 'leaf'
      ? publicKey.kind === 'ec' && publicKey.curve === 'P-384'
      : publicKey.kind === 'rsa' && publicKey.modulusBits === rsaBits;
  if (fits) return;
  const wanted = field === 'leaf' ? 'a P-384 key' : `an RSA key of ${rsaBits} bits`;
  throw new CvmpError('WRONG_KEY_TYPE', `${subject.text} does not hold ${wanted}`, { field });
}

/**
 * Verifies the chain up to its pinned root, with the revocation lists that there are.
 * @returns the current list of the root, the latest of several; undefined where there is none
 * @throws CvmpError as verifyChain
 */
export async function verifyEndorsementChain(
  { leaf, intermediate, root }: EndorsementChain,
  crls: readonly Uint8Array[],
  at: number,
): Promise<CertificateList | undefined> {
  const chain: Chain = [leaf, intermediate, root];
  const lists = crls.map((der, i) => knownList(der, `revocation list ${i + 1}`));
  await verifyChain(chain, { at, algorithms, crls: lists, known: knownSignatures });
  rememberChain(chain, lists);
  return lists
    .filter((list) => sameName(list.issuer, root.subject) && isCurrent(list, at))
    .reduce<CertificateList | undefined>(
      (latest, list) => (latest && latest.thisUpdate >= list.thisUpdate ? latest : list),
      undefined,
    );
}

function missing(what: string): CvmpError {
  return new CvmpError('CHAIN_INVALID', `missing: ${what}`, { field: 'chain' });
}
