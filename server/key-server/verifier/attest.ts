import { equalBytes, toHex } from '#core/bytes.js';
import { verifierKeyDocument } from '#core/ear/passport.js';
import type { EarRules } from '#core/ear/rules.js';
import { earScheme } from '#core/ear/scheme.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { checkValidity } from '#core/keying/rules.js';
import type { Activate } from '#core/rats/activation.js';
import { appraise } from '#core/rats/appraise.js';
import type { AttestationResult, FailedCheck } from '#core/rats/attestation-result.js';
import type { BootCounts } from '#core/rats/claims.js';
import {
  type Endorsements,
  joinEndorsements,
  noEndorsements,
  type TrustAnchor,
} from '#core/rats/endorsements.js';
import {
  endorsementNeeds,
  type OpenedEvidence,
  openEvidence,
  type VerifiedEvidence,
  verifyOpened,
} from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { provenInstance } from '#core/session/instance.js';
import type { SessionEvidence } from '#core/session/server.js';
import { crypto } from '#crypto';
import { type AnchoredKeys, demandActive, keysSince } from '#server/host/callers/tenant.js';
import type { TenantRegistry } from '#server/host/callers/tenants.js';
import { type Span, traced } from '#server/host/observe/trace.js';
import { type AppraisedEvidence, endorsementDigests } from '../log/evidence.js';
import type { KeyServerMetrics } from '../metrics.js';
import type {
  AuditEvent,
  AuditLog,
  BootCountLog,
  CallContext,
  Policies,
  SessionGrant,
  StoredPolicy,
  Told,
} from '../release/contract.js';
import { costOf } from './cost.js';
import type { HeldEndorsements } from './held.js';
import { type EndorsementSource, obtainAll, type Revocation } from './source.js';

export interface VerifierOptions {
  readonly anchors: readonly TrustAnchor[];
  /** Of the configuration; the source has the rest. */
  readonly endorsements: HeldEndorsements;
  readonly source: EndorsementSource;
  readonly revocation: Revocation;
  readonly tenants: Pick<TenantRegistry, 'get'>;
  readonly policies: Pick<Policies, 'covering'>;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly bootCounts: BootCountLog;
  readonly metrics?: Pick<KeyServerMetrics, 'attested'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What an attested session may do, and what its agent is told. */
export interface Attested extends Told {
  readonly grant: SessionGrant;
  /** What the agent is to check the policy by. */
  readonly keys: AnchoredKeys;
  readonly simulated: boolean;
}

/** What evidence was verified with. */
type Used = Pick<AppraisedEvidence, 'anchors' | 'endorsements' | 'at' | 'activated'>;

/** What an attestation came to know before it was decided, for the audit record. */
interface Findings {
  readonly span: Span | undefined;
  format?: string;
  tenantId?: string;
  cvmName?: string;
  policy?: StoredPolicy;
  used?: Used;
  /** The tenant that the hardware names is one of ours, and its evidence may be kept for it. */
  isKnown?: boolean;
  level?: number;
  failedChecks?: readonly FailedCheck[];
  bootCounts?: BootCounts | undefined;
}

/** Verifier and first half of the Relying Party (RFC 9334): evidence in, grant or refusal out. */
export class Verifier {
  readonly #options: VerifierOptions;

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  /** Labels of the evidence that can be verified. */
  get profiles(): readonly string[] {
    return schemes.map((scheme) => scheme.format);
  }

  /**
   * Decides on evidence and records the decision, granted or refused, before it returns.
   * @param activate runs the credential legs of the session, where the evidence needs them
   * @param before what the same stream was granted before, where it attests again
   * @throws CvmpError with the first failure as its code; the audit record has all of them
   */
  async attest(
    evidence: SessionEvidence,
    call: CallContext,
    activate: Activate,
    before?: SessionGrant,
  ): Promise<Attested> {
    const span = call.span?.child('attestation');
    const findings: Findings = { span };
    const evidenceDigest = crypto.hash('sha256', evidence.collection);
    const started = performance.now();
    const record = async (code: ErrorCode | undefined) => {
      const receipt = await traced(span, 'decision.record', () =>
        this.#record(
          findings.bootCounts,
          {
            operation: 'attest',
            tenantId: findings.tenantId,
            actor: 'agent',
            cvmName: findings.cvmName,
            policyDigest: findings.policy?.digest,
            policyId: findings.policy?.policy.policyId,
            policyVersion: findings.policy?.policy.version,
            level: findings.level,
            failedChecks: findings.failedChecks,
            evidenceFormat: findings.format,
            evidenceDigest,
            endorsementDigests: findings.used && endorsementDigests(findings.used.endorsements),
            sessionId: evidence.sessionId,
            requestId: call.requestId,
            code,
          },
          appraisedOf(evidence, evidenceDigest, findings),
        ),
      );
      const seconds = (performance.now() - started) / 1000;
      this.#options.metrics?.attested(findings.format, code ?? 'OK', seconds);
      span?.set({ 'cvmp.format': findings.format ?? 'unknown' });
      span?.end(code);
      return receipt;
    };
    try {
      const attested = await this.#decide(
        evidence,
        findings,
        evidenceDigest,
        activate,
        call,
        before,
      );
      return { ...attested, receipt: await record(undefined) };
    } catch (error) {
      // What was not looked at is no decision, and costs no more.
      if (error instanceof CvmpError && error.code !== 'RATE') {
        call.attestationCost?.failed(costOf(findings.format));
        await record(error.code);
      }
      throw error;
    }
  }

  /** Steps 1 to 12 of protocol.md s.6.8, in order. */
  async #decide(
    evidence: SessionEvidence,
    findings: Findings,
    evidenceDigest: Uint8Array,
    activate: Activate,
    call: CallContext,
    before: SessionGrant | undefined,
  ): Promise<Attested> {
    const verified = await this.#verify(evidence, findings, activate, call);
    // From here on the tenant is the one that the hardware names.
    findings.tenantId = evidence.document.tenantId;
    findings.cvmName = evidence.document.cvmName;
    const { bootCounts } = verified.claims;
    if (bootCounts !== undefined) await this.#options.bootCounts.check(bootCounts);
    const { instance, reportData } = evidence;
    const instanceId = verified.claims.instanceId ?? (await provenInstance(instance, reportData));
    if (before !== undefined) requireSameCvm(before, evidence, instanceId);
    const keys = await this.#keys(evidence);
    findings.isKnown = true;
    const policy = await traced(findings.span, 'policy.find', () => this.#policy(evidence));
    findings.policy = policy;
    const result = await traced(findings.span, 'policy.appraise', () =>
      appraise(verified, appraisalPolicy(policy)),
    );
    findings.failedChecks = result.failures;
    const level = accepted(result);
    findings.level = level;
    findings.bootCounts = bootCounts;
    const { leaseSeconds } = policy.policy.keyRules;
    const grant: SessionGrant = {
      tenantId: evidence.document.tenantId,
      cvmName: evidence.document.cvmName,
      policy,
      level,
      instanceId,
      chipId: verified.claims.chipId,
      sessionId: evidence.sessionId,
      evidenceFormat: verified.scheme.format,
      evidenceDigest,
      leaseExpires: this.#options.now() + leaseSeconds * 1000,
      appraise: (later) => appraise(verified, appraisalPolicy(later)),
    };
    return { grant, keys, simulated: result.simulated };
  }

  /** A decision; with the counts of a TPM that was admitted. */
  #record(
    counts: BootCounts | undefined,
    event: AuditEvent,
    evidence: AppraisedEvidence | undefined,
  ) {
    const { audit, bootCounts } = this.#options;
    const isAdmitted = counts !== undefined && event.code === undefined;
    return isAdmitted ? bootCounts.record(event, counts, evidence) : audit.record(event, evidence);
  }

  /** Steps 1 to 9, with what the configuration holds and what its source can get. */
  async #verify(
    evidence: SessionEvidence,
    findings: Findings,
    activate: Activate,
    call: CallContext,
  ): Promise<VerifiedEvidence> {
    const { anchors, source, revocation, now } = this.#options;
    const { span } = findings;
    const opened = await traced(span, 'evidence.open', () =>
      openEvidence(evidence.collection, schemes),
    );
    findings.format = opened.scheme.format;
    call.attestationCost?.admit(costOf(findings.format));
    const held = this.#options.endorsements(opened.scheme.format);
    const inputs = { anchors, endorsements: held, at: now() };
    const needs = await endorsementNeeds(opened, inputs);
    const obtained = await traced(span, 'endorsements.obtain', () =>
      obtainAll(source, needs, revocation, held),
    );
    const endorsements = joinEndorsements(obtained, await this.#verifierKeys(opened, evidence));
    const used = { anchors, endorsements, at: now(), activated: false };
    findings.used = used;
    const activating: Activate = async (key) => {
      await activate(key);
      used.activated = true;
    };
    return traced(span, 'evidence.verify', () =>
      verifyOpened(opened, evidence, { ...used, activate: activating }),
    );
  }

  /**
   * Keys of external verifiers that the policy of the tenant at hand admits. Where there is no such
   * tenant or policy there are none, and an Attestation Result fails as one of a stranger does.
   */
  async #verifierKeys(
    { scheme }: OpenedEvidence,
    { document }: SessionEvidence,
  ): Promise<Endorsements> {
    if (scheme.format !== earScheme.format) return noEndorsements;
    const { tenantId, cvmName } = document;
    const stored = await this.#options.policies.covering(tenantId, cvmName);
    const rules = stored?.policy.appraisal.formats.get(earScheme.format) as EarRules | undefined;
    const keys = rules?.verifiers.flatMap((one) => one.keys) ?? [];
    return { ...noEndorsements, documents: keys.map(verifierKeyDocument) };
  }

  /** An unknown tenant has no policy; who asks need not learn which of the two is missing. */
  async #keys({ document }: SessionEvidence): Promise<AnchoredKeys> {
    const tenant = await this.#options.tenants.get(document.tenantId);
    if (tenant === undefined) {
      throw new CvmpError('NO_POLICY', `tenant ${document.tenantId} is not registered`);
    }
    const keys = keysSince(tenant, document.policyAnchor);
    if (keys === undefined) {
      const anchor = toHex(document.policyAnchor);
      throw new CvmpError('CONFIG_MISMATCH', `policy anchor ${anchor} is not the tenant's key`);
    }
    demandActive(tenant);
    return keys;
  }

  async #policy({ document }: SessionEvidence): Promise<StoredPolicy> {
    const { tenantId, cvmName } = document;
    const stored = await this.#options.policies.covering(tenantId, cvmName);
    if (stored === undefined) {
      throw new CvmpError('NO_POLICY', `no policy of ${tenantId} covers ${cvmName}`);
    }
    checkValidity(stored.policy, this.#options.now());
    return stored;
  }
}

/**
 * Who attests again on a stream is who attested on it. The chip may be another one: then the CVM was
 * migrated, and its instance id went with it.
 * @throws CvmpError CONFIG_MISMATCH, INSTANCE_CONFLICT
 */
function requireSameCvm(
  before: SessionGrant,
  { document }: SessionEvidence,
  instanceId: Uint8Array | undefined,
): void {
  if (document.tenantId !== before.tenantId || document.cvmName !== before.cvmName) {
    const is = `${document.tenantId}/${document.cvmName}`;
    const was = `${before.tenantId}/${before.cvmName}`;
    throw new CvmpError('CONFIG_MISMATCH', `the stream is of ${was}, the evidence of ${is}`);
  }
  if (instanceId === undefined || before.instanceId === undefined) return;
  if (equalBytes(instanceId, before.instanceId)) return;
  const [is, was] = [toHex(instanceId), toHex(before.instanceId)];
  throw new CvmpError('INSTANCE_CONFLICT', `the stream is of instance ${was}, not of ${is}`);
}

/** What of an attestation its tenant may have appraised again. */
function appraisedOf(
  { sessionId, collection, configDocument, reportData }: SessionEvidence,
  digest: Uint8Array,
  { isKnown = false, tenantId, used }: Findings,
): AppraisedEvidence | undefined {
  if (!isKnown || tenantId === undefined || used === undefined) return undefined;
  return { tenantId, sessionId, digest, collection, configDocument, reportData, ...used };
}

/** @throws CvmpError with the first failure */
function accepted(result: AttestationResult): number {
  const [first] = result.failures;
  if (first !== undefined) throw new CvmpError(first.code, `${first.check}: ${first.message}`);
  return result.level;
}

function appraisalPolicy({ policy }: StoredPolicy) {
  const { allowSimulated, formats } = policy.appraisal;
  return { allowSimulated, formats, levels: policy.levels };
}
