import { toHex } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import type { Endorsements, TrustAnchor } from '../../rats/endorsements.js';
import type { Certificate } from '../../x509/certificate.js';
import type { CertificateList } from '../../x509/crl.js';
import { knownCertificate, knownList } from '../../x509/known-certificates.js';
import { type Name, sameName } from '../../x509/name.js';
import type { PckChain, PckCrls } from './pck-chain.js';
import { knownSignedJson, type SignedJson } from './signed-json.js';
import { anchorOf } from './trust-anchors.js';

/** JSON body of Intel's `/tdx/certification/v4/tcb`. */
export const tcbInfoType = 'application/vnd.cvmp.intel-tcb-info+json';
/** JSON body of Intel's `/tdx/certification/v4/qe/identity`. */
export const qeIdentityType = 'application/vnd.cvmp.intel-qe-identity+json';

/** A document of Intel as received, and what is in it. */
export interface Statement {
  readonly document: Uint8Array;
  readonly json: SignedJson;
}

/** Collateral for one quote, chosen and not yet verified. */
export interface TdxCollateral {
  readonly tcbInfo: Statement;
  readonly qeIdentity: Statement;
  /** Signer of both. */
  readonly signer: Certificate;
  readonly root: Certificate;
  readonly anchor: TrustAnchor;
  readonly crls: PckCrls;
}

const signerName = 'Intel SGX TCB Signing';
/** More certificates, lists or documents than this are refused. */
const piecesMax = 64;

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function parseCertificates(endorsements: Endorsements): readonly Certificate[] {
  const { certificates, crls, documents = [] } = endorsements;
  if (Math.max(certificates.length, crls.length, documents.length) > piecesMax) {
    throw new CvmpError('SIZE', `more than ${piecesMax} certificates, lists or documents`);
  }
  return certificates.map((der, i) => knownCertificate(der, `certificate ${i + 1}`));
}

/**
 * Chooses the collateral for the platform of a quote: TCB Info of its FMSPC where there is one, of
 * several the newest. All of it is verified afterwards; a wrong choice costs a refusal.
 * @param fmspc as the PCK certificate claims it
 * @throws CvmpError UNTRUSTED_ROOT, COLLATERAL_STALE (something is missing), MALFORMED,
 *   NOT_CANONICAL, SIZE
 */
export function chooseCollateral(
  chain: PckChain,
  certificates: readonly Certificate[],
  endorsements: Endorsements,
  anchors: readonly TrustAnchor[],
  fmspc: Uint8Array,
): TdxCollateral {
  const { root, anchor } = pinnedRoot(chain, certificates, anchors);
  const signer = certificates.find(
    (c) => c.subject.commonName === signerName && sameName(c.issuer, root.subject),
  );
  if (signer === undefined) missing('the TCB signing certificate');
  const lists = endorsements.crls.map((der, i) => knownList(der, `revocation list ${i + 1}`));
  const documents = (mediaType: string, name: string): Statement[] =>
    (endorsements.documents ?? [])
      .filter((document) => document.mediaType === mediaType)
      .map(({ value }) => ({ document: value, json: knownSignedJson(value, name) }));
  const infos = documents(tcbInfoType, 'tcbInfo');
  const ours = infos.filter((info) => member(info, 'fmspc').toLowerCase() === toHex(fmspc));
  return {
    tcbInfo: newest(ours.length > 0 ? ours : infos) ?? missing('TCB Info'),
    qeIdentity: newest(documents(qeIdentityType, 'enclaveIdentity')) ?? missing('QE Identity'),
    signer,
    root,
    anchor,
    crls: {
      root: listOf(lists, root.subject) ?? missing('the revocation list of the root'),
      pck: listOf(lists, chain.ca.subject) ?? missing('the revocation list of PCKs'),
    },
  };
}

/** The root that the chain names; without collateral it need not be in the quote. */
export function pinnedRoot(
  chain: PckChain,
  certificates: readonly Certificate[],
  anchors: readonly TrustAnchor[],
): { readonly root: Certificate; readonly anchor: TrustAnchor } {
  const candidates = [...(chain.root === undefined ? [] : [chain.root]), ...certificates];
  for (const root of candidates) {
    if (!sameName(root.subject, chain.ca.issuer)) continue;
    const anchor = anchorOf(root, anchors);
    if (anchor !== undefined) return { root, anchor };
  }
  throw new CvmpError('UNTRUSTED_ROOT', `no trust anchor has the key of ${chain.ca.issuer.text}`, {
    field: 'root',
  });
}

/** A text of the signed value, read before its signature is verified: only good for choosing. */
function member({ json }: Statement, name: string): string {
  const found: unknown = (json.value as Readonly<Record<string, unknown>>)[name];
  return typeof found === 'string' ? found : '';
}

function newest(documents: readonly Statement[]): Statement | undefined {
  const byDate = [...documents].sort((a, b) =>
    member(a, 'issueDate') < member(b, 'issueDate') ? 1 : -1,
  );
  return byDate[0];
}

function listOf(lists: readonly CertificateList[], issuer: Name): CertificateList | undefined {
  const own = lists.filter((crl) => sameName(crl.issuer, issuer));
  return own.sort((a, b) => b.thisUpdate - a.thisUpdate)[0];
}

function missing(what: string): never {
  throw new CvmpError('COLLATERAL_STALE', `missing: ${what}`, { field: 'collateral' });
}
