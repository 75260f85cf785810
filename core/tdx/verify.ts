import { crypto } from '#crypto';
import { concat, equalBytes, isZero } from '../bytes.js';
import { ecSpki } from '../crypto.js';
import { CvmpError } from '../errors.js';
import type { EventLog } from '../eventlog/parse.js';
import type { Endorsements, TrustAnchor } from '../rats/endorsements.js';
import type { Certificate } from '../x509/certificate.js';
import type { TdxClaims } from './claims.js';
import { chooseCollateral, parseCertificates } from './endorsement/collateral.js';
import { type PckPlatform, readPckPlatform } from './endorsement/pck.js';
import { pckChainOf, verifyPckChain } from './endorsement/pck-chain.js';
import { verifyQeIdentity } from './endorsement/qe-identity.js';
import type { TcbInfo } from './endorsement/tcb-info.js';
import { intelRoots } from './endorsement/trust-anchors.js';
import { verifySigner, verifyStatements } from './endorsement/verify-collateral.js';
import type { TdxQuote } from './parse.js';
import { explainRtmrs, withoutLog } from './registers.js';
import { evaluateTcb, type TcbEvaluation } from './tcb.js';

/**
 * Verifies that a quote is genuine: the steps of protocol.md s.3.2 (step 1 is the parser's), one
 * reason each, the first failure wins. What the TD itself must be is appraised later.
 * @param at time of evaluation, milliseconds since 1970
 * @param eventLog CC event log that came along; it explains registers and vouches for nothing
 * @throws CvmpError with a code of the evidence section of the error table
 */
export async function verifyTdxQuote(
  quote: TdxQuote,
  endorsements: Endorsements,
  anchors: readonly TrustAnchor[],
  at: number,
  eventLog?: EventLog,
): Promise<TdxClaims> {
  const certificates = parseCertificates(endorsements);
  const chain = pckChainOf(quote, certificates);
  const platform = readPckPlatform(chain.pck);
  // 2 to 4. Pinned root, its CRL, TCB Info and QE Identity.
  const { fmspc } = platform;
  const collateral = chooseCollateral(chain, certificates, endorsements, anchors, fmspc);
  await verifySigner(collateral, at);
  const { tcbInfo, qeIdentity } = await verifyStatements(collateral, at);
  // 5. The PCK certificate is Intel's and not revoked: stops platforms that nobody made.
  await verifyPckChain(chain, collateral.root, at, collateral.crls);
  // 6, 9, 7. The platform signed the Quoting Enclave's report, which names the key of the quote.
  await verifyQuoteSignatures(quote, chain.pck);
  // 8. It is Intel's Quoting Enclave: the platform signs the report of any enclave.
  verifyQeIdentity(quote.qeReport, qeIdentity);
  // 10. Levels of another platform family say nothing of this one.
  verifyFamily(platform, tcbInfo);
  // 11 to 13. Module, level, merge.
  const tcb = requireLevel(evaluateTcb(quote, platform, tcbInfo, qeIdentity));
  return {
    format: 'tdx',
    simulated: !intelRoots.some(({ spkiDigest }) =>
      equalBytes(spkiDigest, collateral.anchor.spkiDigest),
    ),
    reportData: quote.td.reportData,
    configBinding: { field: 'MRCONFIGID', hash: 'sha384', digest: quote.td.mrConfigId },
    launchMeasurement: quote.td.mrTd,
    instanceId: undefined,
    chipId: platform.ppid,
    quote,
    platform,
    tcb,
    measurements:
      eventLog === undefined ? withoutLog(quote.td) : await explainRtmrs(quote.td, eventLog),
    evaluatedAt: at,
    endorsementDigest: crypto.hash('sha256', chain.pck.der),
  };
}

/**
 * Steps 6, 9 and 7: the three links from PCK to quote. The quote's signature comes before the
 * binding of its key, so that a key which is no point on the curve is told as the bad signature that
 * it makes, and a well-signed quote under a foreign key as what the Quoting Enclave did not vouch for.
 * @throws CvmpError QE_REPORT_INVALID, EVIDENCE_SIGNATURE_INVALID
 */
export async function verifyQuoteSignatures(quote: TdxQuote, pck: Certificate): Promise<void> {
  const attestationSpki = ecSpki('P-256', concat(Uint8Array.of(4), quote.attestationKey));
  const [isQeReportSigned, isQuoteSigned] = await Promise.all([
    crypto.verify('ES256', pck.spki, quote.qeReportSignature, quote.qeReportBytes),
    crypto.verify('ES256', attestationSpki, quote.signature, quote.signedBytes),
  ]);
  if (!isQeReportSigned) {
    throw new CvmpError('QE_REPORT_INVALID', 'the PCK did not sign the QE report', {
      field: 'quote.qe_report_signature',
    });
  }
  if (!isQuoteSigned) {
    throw new CvmpError(
      'EVIDENCE_SIGNATURE_INVALID',
      'the attestation key did not sign the quote',
      { field: 'quote.signature' },
    );
  }
  const { reportData } = quote.qeReport;
  const bound = crypto.hash('sha256', quote.attestationKey, quote.qeAuthData);
  if (!equalBytes(reportData.subarray(0, 32), bound) || !isZero(reportData.subarray(32))) {
    throw new CvmpError('QE_REPORT_INVALID', 'the QE report does not bind the attestation key', {
      field: 'quote.attestation_key',
    });
  }
}

function verifyFamily(platform: PckPlatform, tcbInfo: TcbInfo): void {
  if (equalBytes(platform.fmspc, tcbInfo.fmspc) && equalBytes(platform.pceId, tcbInfo.pceId)) {
    return;
  }
  throw new CvmpError('FMSPC_MISMATCH', 'TCB Info is of another FMSPC or PCE-ID', {
    field: 'tcbInfo.fmspc',
  });
}

/** A TCB that Intel does not list, or revoked, is never accepted: no policy can say otherwise. */
function requireLevel(tcb: TcbEvaluation): TdxClaims['tcb'] {
  const { status } = tcb;
  if (status === undefined) {
    const what = tcb.platform === undefined ? 'platform' : tcb.qe === undefined ? 'QE' : 'module';
    throw new CvmpError('TCB_UNKNOWN', `the ${what} is below every level that Intel lists`);
  }
  if (status === 'Revoked') {
    throw new CvmpError('TCB_REVOKED', `the TCB is revoked: ${tcb.advisoryIds.join(', ')}`);
  }
  return { ...tcb, status };
}
