import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import type { LogRecord } from '#core/log/record.js';
import { appraise } from '#core/rats/appraise.js';
import type { AttestationResult } from '#core/rats/attestation-result.js';
import type { Endorsements } from '#core/rats/endorsements.js';
import { openEvidence, verifyOpened } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { crypto } from '#crypto';
import type { ExplainAuditEntryResponse } from '#gen/cvmp/v1/audit_pb.js';

/** What an appraisal of the same evidence by the same policy, at the same time, comes to. */
export interface Reappraisal {
  /** Undefined where the evidence is gone, or does not verify. */
  readonly result: AttestationResult | undefined;
  /** Why there is no result. */
  readonly failure: CvmpError | undefined;
  /** Sentences about what the decision rests on. */
  readonly reasons: readonly string[];
  /** What contradicts the record; none where the decision follows from what is kept. */
  readonly differences: readonly string[];
}

/**
 * Takes a stored decision again, by the code that the Key Server took it by. What the server kept is
 * held against the digests of the record, so that it cannot show other evidence than it judged.
 * @param policy undefined: none covered the CVM
 */
export async function reappraise(
  record: LogRecord,
  kept: ExplainAuditEntryResponse,
  policy: KeyingPolicy | undefined,
): Promise<Reappraisal> {
  const differences = digestDifferences(record, kept);
  const made = await madeAgain(kept, policy);
  const { result } = made;
  const reasons: string[] = [];
  if (result !== undefined && policy !== undefined) {
    differences.push(...appraisalDifferences(record, result));
    reasons.push(
      result.accepted
        ? `the evidence proves level ${result.level} under policy ${policy.policyId} version ${policy.version}`
        : `policy ${policy.policyId} version ${policy.version} refuses the evidence`,
    );
  }
  reasons.push(...keyReasons(record));
  return { ...made, reasons, differences };
}

async function madeAgain(
  kept: ExplainAuditEntryResponse,
  policy: KeyingPolicy | undefined,
): Promise<Pick<Reappraisal, 'result' | 'failure'>> {
  const { cmwCollection: collection, configDocument, reportData } = kept;
  if (collection.length === 0) return { result: undefined, failure: undefined };
  try {
    const verified = await verifyOpened(
      openEvidence(collection, schemes),
      { collection, configDocument, reportData },
      {
        anchors: kept.anchors,
        endorsements: endorsementsOf(kept),
        at: Number(kept.appraisedAt),
        // The TPM opened its credential then; it is not there to open one now.
        ...(kept.activated ? { activate: async () => {} } : {}),
      },
    );
    const rules = policy && { ...policy.appraisal, levels: policy.levels };
    return { result: appraise(verified, rules), failure: undefined };
  } catch (error) {
    if (error instanceof CvmpError) return { result: undefined, failure: error };
    throw error;
  }
}

function endorsementsOf({ endorsements }: ExplainAuditEntryResponse): Endorsements {
  const contents = (wanted: string) =>
    endorsements.filter(({ kind }) => kind === wanted).map(({ content }) => content);
  return {
    certificates: contents('certificate'),
    crls: contents('crl'),
    documents: endorsements
      .filter(({ kind }) => kind !== 'certificate' && kind !== 'crl')
      .map(({ kind, content }) => ({ mediaType: kind, value: content })),
  };
}

function digestDifferences(record: LogRecord, kept: ExplainAuditEntryResponse): string[] {
  const differs = (content: Uint8Array, digest: Uint8Array | undefined) =>
    content.length > 0 &&
    digest !== undefined &&
    !equalBytes(crypto.hash('sha256', content), digest);
  const found: string[] = [];
  if (differs(kept.cmwCollection, record.evidenceDigest)) {
    found.push('the evidence is not the one that the record names');
  }
  if (differs(kept.signedPolicy, record.policyDigest)) {
    found.push('the policy is not the one that the record names');
  }
  const named = record.endorsementDigests ?? [];
  const used = kept.endorsements.map(({ content }) => crypto.hash('sha256', content));
  if (named.length < 64 && named.some((digest) => !used.some((one) => equalBytes(one, digest)))) {
    if (used.length > 0) found.push('an endorsement that the record names is not among those kept');
  }
  return found;
}

function appraisalDifferences(record: LogRecord, result: AttestationResult): string[] {
  const found: string[] = [];
  if (record.operation === 'attest') {
    const [first] = result.failures;
    if (record.code !== first?.code) {
      const now = first?.code ?? 'granted';
      found.push(`it was decided ${record.code ?? 'granted'}, and comes to ${now}`);
    }
  }
  if (record.level !== undefined && result.accepted && record.level !== result.level) {
    found.push(`level ${record.level} was taken, and ${result.level} is proven`);
  }
  return found;
}

/** Why a key was released, or was not (protocol.md s.6.4). */
function keyReasons({ operation, code, level, svn, svnFloor }: LogRecord): string[] {
  if (level === undefined || svnFloor === undefined) return [];
  if (code === 'SVN_BELOW_FLOOR') {
    return [`level ${level} is below the floor ${svnFloor} of the key`];
  }
  if (code === 'SVN_ABOVE_LEVEL') return [`SVN ${svn} is above the proven level ${level}`];
  if (code !== undefined) return [`the floor of the key was ${svnFloor}`];
  const what = operation === 'key_update' ? 'the floor was raised to' : 'the SVN given is';
  return [`level ${level} is at or above the floor ${svnFloor}; ${what} ${svn}`];
}
