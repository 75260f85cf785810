import { CvmpError, type ErrorCode } from '#core/errors.js';
import type { TrustAnchor } from '#core/rats/endorsements.js';
import { appraise, deny } from '#core/tdx/appraise.js';
import type { TdxClaims } from '#core/tdx/claims.js';
import { pinnedRoot } from '#core/tdx/endorsement/collateral.js';
import { pckChainOf, verifyPckChain } from '#core/tdx/endorsement/pck-chain.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { defaultRules } from '#core/tdx/rules.js';
import { verifyQuoteSignatures } from '#core/tdx/verify.js';
import { type Certificate, parseCertificate } from '#core/x509/certificate.js';
import { readDerOrPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import type { CaseVerdict, JsonObject } from '../../judge.js';
import { reasonClass } from '../reason-classes.js';

/** Where the vectors for TDX call a reason otherwise. */
const tdxReasons: Readonly<Partial<Record<ErrorCode, string>>> = {
  UNSUPPORTED_EVIDENCE: 'malformed',
  UNSUPPORTED_VERSION: 'malformed',
  COLLATERAL_STALE: 'collateral-expired',
  COLLATERAL_SIGNATURE: 'collateral-signature-invalid',
  COLLATERAL_TYPE: 'collateral-wrong-type',
  FMSPC_MISMATCH: 'fmspc-mismatch',
  QE_REPORT_INVALID: 'qe-report-invalid',
  QE_IDENTITY_MISMATCH: 'qe-identity-mismatch',
  TDX_MODULE_MISMATCH: 'tdx-module-mismatch',
  TCB_UNKNOWN: 'tcb-no-matching-level',
  TCB_REVOKED: 'tcb-revoked',
  POLICY_GUEST: 'td-attributes',
};

const reasonOf = (code: ErrorCode) => tdxReasons[code] ?? reasonClass(code);

/** `accept`, `reject (reason)`, `policy (reason, ...)` or `status (TCB status)`. */
export type TdxOutcome = string;

export const rejected = (reason: string): TdxOutcome => `reject (${reason})`;

/** What the work gives; a coded error is a rejection. */
export async function outcomeOf(work: () => Promise<TdxOutcome>): Promise<TdxOutcome> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CvmpError) return rejected(reasonOf(error.code));
    throw error;
  }
}

/**
 * Everything about a quote that needs no collateral: its chain and its signatures.
 * @param from time of evaluation, or later where a certificate in the quote begins later: without
 *   collateral any time does at which the certificates themselves are valid
 */
export async function verifyWithoutCollateral(
  bytes: Uint8Array,
  anchors: readonly TrustAnchor[],
  from: number,
): Promise<void> {
  const quote = parseTdxQuote(bytes);
  const chain = pckChainOf(quote);
  const { root } = pinnedRoot(chain, [], anchors);
  const at = Math.max(from, chain.pck.notBefore, chain.ca.notBefore);
  await verifyPckChain(chain, root, at, undefined);
  await verifyQuoteSignatures(quote, chain.pck);
}

/** The outcome of the default policy over verified claims. */
export function appraised(claims: TdxClaims): TdxOutcome {
  const { status } = claims.tcb;
  if (status !== 'UpToDate') return `status (${status})`;
  // What was launched is the tenant's own matter; what the vectors speak about is the rest.
  const rtmr = [undefined, undefined, undefined, undefined] as const;
  const references = [{ mrTd: claims.quote.td.mrTd, rtmr, imageSvn: 0, name: '' }];
  const failures = [...deny(claims), ...appraise(claims, { ...defaultRules, references })];
  if (failures.length === 0) return 'accept';
  return `policy (${failures.map(({ code }) => reasonOf(code)).join(', ')})`;
}

/** Pins the key of this certificate. */
export function pinned(root: Certificate): TrustAnchor {
  const spkiDigest = crypto.hash('sha256', root.spki);
  return { format: 'tdx', name: root.subject.text, spkiDigest };
}

export function certificatesIn(file: Uint8Array): Certificate[] {
  return readDerOrPem(file, 'CERTIFICATE', 'certificate file').map((der) => parseCertificate(der));
}

/** Compares an outcome with `verdict` and `reason_class` of a case. */
export function against(name: string, wanted: JsonObject, outcome: TdxOutcome): CaseVerdict {
  const stated = String(wanted.verdict);
  const reason = typeof wanted.reason_class === 'string' ? wanted.reason_class : undefined;
  const row = (expected: string, asExpected: boolean): CaseVerdict => ({
    name,
    expected,
    actual: outcome,
    asExpected,
  });
  switch (stated) {
    case 'accept':
      // An encoding that may be accepted or refused: only the checks may not be skipped.
      return reason === 'encoding'
        ? row('accept or reject', outcome === 'accept' || outcome.startsWith('reject'))
        : row('accept', outcome === 'accept');
    case 'reject':
      return reason === undefined
        ? row('reject', outcome.startsWith('reject'))
        : row(rejected(reason), outcome === rejected(reason));
    case 'policy':
      return row(`policy (${reason})`, outcome === `policy (${reason})`);
    case 'status': {
      const overall = /\boverall (?:TCB status )?(\w+)/.exec(String(wanted.what))?.[1];
      return overall === undefined
        ? row('status', outcome.startsWith('status'))
        : row(`status (${overall})`, outcome === `status (${overall})`);
    }
    default:
      return { name, expected: stated, actual: outcome, asExpected: undefined };
  }
}
