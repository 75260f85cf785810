import { crypto } from '#crypto';
import { equalBytes, toHex } from '../bytes.js';
import { CvmpError } from '../errors.js';
import type { Activate } from './activation.js';
import type { Claims, ConfigBinding } from './claims.js';
import { decodeCmw } from './cmw.js';
import {
  type EndorsementNeed,
  type Endorsements,
  joinEndorsements,
  noEndorsements,
  type TrustAnchor,
} from './endorsements.js';
import type { AnyScheme } from './scheme.js';

/** Evidence of a CVM, with what it must have been made over. */
export interface EvidenceRequest {
  /** CMW collection as received. */
  readonly collection: Uint8Array;
  /** Config document as received. */
  readonly configDocument: Uint8Array;
  /** What REPORTDATA must hold, 64 bytes. */
  readonly reportData: Uint8Array;
}

/** What the Verifier holds. */
export interface VerifierInputs {
  readonly endorsements: Endorsements;
  readonly anchors: readonly TrustAnchor[];
  /** Time of evaluation, milliseconds since 1970. */
  readonly at: number;
  /** Runs the credential legs; absent: there is nobody to run them with. */
  readonly activate?: Activate;
}

/** Claims that passed every cryptographic step, and the scheme that reads them. */
export interface VerifiedEvidence {
  readonly scheme: AnyScheme;
  readonly claims: Claims;
  /** SHA-256 over the CMW collection, for the audit record (32 bytes). */
  readonly evidenceDigest: Uint8Array;
}

/** Evidence of a known format, decoded and not verified. */
export interface OpenedEvidence {
  readonly scheme: AnyScheme;
  /** For the scheme alone. */
  readonly evidence: unknown;
}

/**
 * Steps 1 and 2 of the appraisal (protocol.md s.6.8): size, shape, canonical encoding.
 * @param collection CMW collection as received
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_*
 */
export function openEvidence(
  collection: Uint8Array,
  schemes: readonly AnyScheme[],
): OpenedEvidence {
  const records = decodeCmw(collection);
  const scheme = schemeOf(records, schemes);
  return { scheme, evidence: scheme.parse(records) };
}

/**
 * Steps 1, 2 and 4 to 9 of the appraisal (protocol.md s.6.8), in this order; the first failure
 * ends it. No policy is needed so far, so nothing of a tenant can leak to an unattested peer.
 * @throws CvmpError as {@link openEvidence}, the codes of the scheme's verify, BINDING_MISMATCH,
 *   CONFIG_MISMATCH
 */
export async function verifyEvidence(
  request: EvidenceRequest,
  { schemes, ...inputs }: VerifierInputs & { readonly schemes: readonly AnyScheme[] },
): Promise<VerifiedEvidence> {
  return verifyOpened(openEvidence(request.collection, schemes), request, inputs);
}

/** {@link verifyEvidence} from step 4 on. @param opened of the request's collection */
export async function verifyOpened(
  opened: OpenedEvidence,
  request: EvidenceRequest,
  inputs: VerifierInputs,
): Promise<VerifiedEvidence> {
  const { scheme, evidence } = opened;
  const endorsements = await withActivatedKey(opened, inputs);
  // 4, 5, 6: chain, signature, certificate against report. Stops forged and foreign evidence.
  const claims = await scheme.verify(evidence, endorsements, inputs.anchors, inputs.at);
  // 7: stops replay and relay of genuine evidence.
  requireReportData(claims, request.reportData);
  // 9: stops a host that starts the CVM with a config document of its own.
  requireConfigDocument(claims.configBinding, request.configDocument);
  return { scheme, claims, evidenceDigest: crypto.hash('sha256', request.collection) };
}

/**
 * What the Verifier holds, and what it comes to know by itself: that a key lies in the TPM that the
 * evidence names. Stops an AK of which nobody knows where it lies.
 */
async function withActivatedKey(
  { scheme, evidence }: OpenedEvidence,
  { endorsements, anchors, at, activate }: VerifierInputs,
): Promise<Endorsements> {
  if (activate === undefined) return endorsements;
  const key = await scheme.toActivate?.(evidence, endorsements, anchors, at);
  if (key === undefined) return endorsements;
  await activate(key);
  return joinEndorsements(endorsements, { ...noEndorsements, documents: [key.endorsement] });
}

/**
 * What would have to be got from vendors to verify this evidence; nothing where it is refused before
 * that: {@link verifyOpened} then says why.
 */
export async function endorsementNeeds(
  { scheme, evidence }: OpenedEvidence,
  { endorsements, anchors, at }: VerifierInputs,
): Promise<readonly EndorsementNeed[]> {
  try {
    return (await scheme.needs?.(evidence, endorsements, anchors, at)) ?? [];
  } catch (error) {
    if (error instanceof CvmpError) return [];
    throw error;
  }
}

function schemeOf(
  collection: ReturnType<typeof decodeCmw>,
  schemes: readonly AnyScheme[],
): AnyScheme {
  const found = schemes.filter((scheme) => scheme.admits(collection));
  const [scheme] = found;
  if (scheme === undefined || found.length > 1) {
    const labels = [...collection.keys()].join(', ');
    throw new CvmpError('UNSUPPORTED_EVIDENCE', `no scheme, or several, for labels: ${labels}`);
  }
  return scheme;
}

/** Hashes of report data for formats that hold fewer than 64 bytes, by their length. */
const shortened: Readonly<Record<number, 'sha256' | 'sha384'>> = { 32: 'sha256', 48: 'sha384' };

/** @throws CvmpError BINDING_MISMATCH */
export function requireReportData({ reportData }: Claims, expected: Uint8Array): void {
  const hash = shortened[reportData.length];
  const wanted = hash === undefined ? expected : crypto.hash(hash, expected);
  if (equalBytes(reportData, wanted)) return;
  throw new CvmpError('BINDING_MISMATCH', 'the report data is not the Binding of this session');
}

/** @throws CvmpError CONFIG_MISMATCH */
export function requireConfigDocument(binding: ConfigBinding, configDocument: Uint8Array): void {
  const digest = crypto.hash(binding.hash, configDocument);
  if (equalBytes(binding.digest, digest)) return;
  const found = toHex(binding.digest);
  throw new CvmpError(
    'CONFIG_MISMATCH',
    `${binding.field} is ${found}, the config document has ${toHex(digest)}`,
  );
}
