import { toHex } from '../../bytes.js';
import type { EndorsementNeed, Endorsements, TrustAnchor } from '../../rats/endorsements.js';
import { knownList } from '../../x509/known-certificates.js';
import { sameName } from '../../x509/name.js';
import type { TdxQuote } from '../parse.js';
import { parseCertificates, pinnedRoot, qeIdentityType, tcbInfoType } from './collateral.js';
import { readPckPlatform } from './pck.js';
import { pckChainOf, verifyPckChain } from './pck-chain.js';
import { JsonReader, knownSignedJson } from './signed-json.js';

/**
 * What Intel publishes for the platform of this quote. Its PCK chain is verified first, but for
 * revocation, so that only platforms that Intel made can have their collateral asked for.
 * @param endorsements all that is there already
 * @param at time of evaluation, milliseconds since 1970
 * @throws CvmpError as the same steps of verifyTdxQuote
 */
export async function tdxNeeds(
  quote: TdxQuote,
  endorsements: Endorsements,
  anchors: readonly TrustAnchor[],
  at: number,
): Promise<readonly EndorsementNeed[]> {
  const certificates = parseCertificates(endorsements);
  const chain = pckChainOf(quote, certificates);
  const { root } = pinnedRoot(chain, certificates, anchors);
  await verifyPckChain(chain, root, at, undefined);
  const { fmspc } = readPckPlatform(chain.pck);
  const lists = endorsements.crls.map((der, i) => knownList(der, `revocation list ${i + 1}`));
  const hasListOf = (issuer: typeof root) =>
    lists.some((list) => sameName(list.issuer, issuer.subject));
  const ca = chain.ca.subject.commonName?.includes('Processor') ? 'processor' : 'platform';
  const documents = (mediaType: string) =>
    (endorsements.documents ?? []).filter((document) => document.mediaType === mediaType);
  const hasTcbInfo = documents(tcbInfoType).some(({ value }) => {
    const info = new JsonReader(knownSignedJson(value, 'tcbInfo').value, 'tcbInfo');
    return info.text('fmspc').toLowerCase() === toHex(fmspc);
  });
  return [
    { statement: { kind: 'intel-tcb-info', fmspc }, isCarried: hasTcbInfo },
    {
      statement: { kind: 'intel-qe-identity' },
      isCarried: documents(qeIdentityType).length > 0,
    },
    { statement: { kind: 'intel-pck-crl', ca }, isCarried: hasListOf(chain.ca) },
    { statement: { kind: 'intel-root-crl' }, isCarried: hasListOf(root) },
  ];
}
