import { equalBytes } from '../../bytes.js';
import type { SignatureAlgorithm } from '../../crypto.js';
import { CvmpError } from '../../errors.js';
import type { Endorsements, TrustAnchor } from '../../rats/endorsements.js';
import type { Certificate } from '../../x509/certificate.js';
import { type Chain, verifyChain } from '../../x509/chain.js';
import { extensionOid } from '../../x509/extensions.js';
import {
  knownCertificate,
  knownList,
  knownSignatures,
  rememberChain,
} from '../../x509/known-certificates.js';
import { sameName } from '../../x509/name.js';
import { anchorOf } from './trust-anchors.js';

const algorithms: readonly SignatureAlgorithm[] = ['RS256', 'RS384', 'PS256', 'ES256', 'ES384'];
const piecesMax = 32;
/** Certificates of a chain, root included. */
const depthMax = 5;

/**
 * Verifies the certificate of a TPM's key up to a pinned root, through whatever intermediates the
 * endorsements hold, with their revocation lists.
 * @param at time of evaluation, milliseconds since 1970
 * @returns the anchor
 * @throws CvmpError UNTRUSTED_ROOT, CHAIN_INVALID, CERT_EXPIRED, CERT_REVOKED, COLLATERAL_STALE,
 *   UNKNOWN_CRITICAL, MALFORMED, NOT_CANONICAL, SIZE
 */
export async function verifyKeyCertificate(
  leaf: Certificate,
  endorsements: Endorsements,
  anchors: readonly TrustAnchor[],
  at: number,
): Promise<TrustAnchor> {
  const { certificates, crls } = endorsements;
  if (Math.max(certificates.length, crls.length) > piecesMax) {
    throw new CvmpError('SIZE', `more than ${piecesMax} certificates or revocation lists`);
  }
  const issuers = certificates.map((der, i) => knownCertificate(der, `certificate ${i + 1}`));
  const { chain, anchor } = assemble(leaf, issuers, anchors);
  const lists = crls.map((der, i) => knownList(der, `revocation list ${i + 1}`));
  await verifyChain(chain, {
    at,
    algorithms,
    // TCG EK Credential Profile 3.2.9: names of the TPM's model, critical where the subject is empty.
    understood: [extensionOid.subjectAltName],
    crls: lists,
    known: knownSignatures,
  });
  rememberChain(chain, lists);
  return anchor;
}

/** Follows the names; each link is verified afterwards. */
function assemble(
  leaf: Certificate,
  issuers: readonly Certificate[],
  anchors: readonly TrustAnchor[],
): { chain: Chain; anchor: TrustAnchor } {
  const chain = [leaf];
  for (let last = leaf; chain.length < depthMax; chain.push(last)) {
    const issuer = issuers.find(
      (c) => sameName(c.subject, last.issuer) && !chain.some((d) => equalBytes(c.der, d.der)),
    );
    if (issuer === undefined) break;
    const anchor = anchorOf(issuer, anchors);
    if (anchor !== undefined) return { chain: [leaf, ...chain.slice(1), issuer], anchor };
    last = issuer;
  }
  const top = chain[chain.length - 1] ?? leaf;
  throw new CvmpError('UNTRUSTED_ROOT', `no trust anchor has the key of ${top.issuer.text}`, {
    field: 'root',
  });
}
