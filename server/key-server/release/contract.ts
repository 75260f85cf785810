import type { EcPrivateKey } from '#core/crypto.js';
import type { CvmpError } from '#core/errors.js';
import type { KeyRecord, RootEpoch } from '#core/keying/key-record.js';
import type { KeyingPolicy, KeyPurpose } from '#core/keying/policy.js';
import type { LogEvent } from '#core/log/record.js';
import type { FailedCheck } from '#core/rats/attestation-result.js';
import type { BootCounts } from '#core/rats/claims.js';
import type { TenantChange, TenantRegistry } from '#server/host/callers/tenants.js';
import type { CallContext as HostCallContext } from '#server/host/handlers.js';
import type { Span } from '#server/host/observe/trace.js';
import type { Page, PageRequest } from '#server/host/paging.js';
import type { KeyAdmin } from '../lifecycle/contract.js';
import type { AppraisedEvidence, EvidenceKeeper } from '../log/evidence.js';
import type { LogReading } from '../log/reading.js';
import type { RollbackGuard } from '../log/rollback.js';
import type { NoticeBoard } from '../notices.js';
import type { Resealing } from '../sealing/resealing.js';
import type { Receipt } from '../store/journal.js';
import type { Quotas } from '../tenants/quotas.js';
import type { BackupProgress } from '../upkeep/backup.js';
import type { TenantPolicies } from './tenant-policies.js';

/**
 * What the services of the Key Server build on. Times are milliseconds since the epoch.
 * Nothing is answered before its audit record and its change are durable, refusals included;
 * refusals are thrown as CvmpError after that.
 */
export interface KeyServerState {
  /** Signs Challenge, SessionAccept and PolicyResponse; made by init, kept sealed in the store. */
  readonly identity: EcPrivateKey;
  readonly tenants: TenantRegistry;
  readonly policies: Policies;
  readonly quotas: Quotas;
  readonly keys: Keys;
  readonly keyAdmin: KeyAdmin;
  readonly audit: AuditLog;
  /** What the TPMs of admitted CVMs counted. */
  readonly bootCounts: BootCountLog;
  /** What tenants may read of the log, with its proofs. */
  readonly log: LogReading;
  /** What decisions were made on, to make them again. */
  readonly evidence: Pick<EvidenceKeeper, 'find' | 'prune'>;
  /** Notices that the store was rolled back. */
  readonly guard: RollbackGuard;
  /** Live sessions, and who tells them what happened. */
  readonly notices: NoticeBoard;
  /** Replaces keys that others are wrapped under. */
  readonly resealing: Pick<Resealing, 'rekeyMaster' | 'rewrap' | 'copyVault'>;
  /** Why nothing is answered any more (STORE_WRITE); undefined while all is well. */
  failure(): CvmpError | undefined;
  /** Copies the store as it is now, while the server goes on; see upkeep/backup.ts. */
  backup(folder: string): AsyncIterable<BackupProgress>;
  /** Waits for what is under way, then closes the store. */
  close(): Promise<void>;
}

/** A stored version of a Keying Policy. */
export interface StoredPolicy {
  readonly policy: KeyingPolicy;
  /** COSE_Sign1 or COSE_Sign as received. */
  readonly signed: Uint8Array;
  /** SHA-256 of `signed`. */
  readonly digest: Uint8Array;
  /** Rises with each order that sessions under it attest again. */
  readonly generation: number;
}

/** What became of a policy. */
export interface PolicyOutcome extends StoredPolicy {
  /** False after a dry run. */
  readonly accepted: boolean;
  /** Existing keys whose floor this raises or raised. */
  readonly keysRaised: number;
  /** Sentences for a careful tenant. */
  readonly warnings: readonly string[];
  readonly time: number;
}

/** A policy that was not set, and what covers which CVM without it and with it. */
export interface TriedOut {
  readonly outcome: PolicyOutcome;
  readonly before: Pick<TenantPolicies, 'covering'>;
  readonly after: Pick<TenantPolicies, 'covering'>;
}

export interface Policies {
  /**
   * Verifies the signatures of the tenant and of the quorums that guard the policy, the policy's
   * rules and its place in the chain of versions. Repeated with the current version it changes
   * nothing.
   * @param signed COSE_Sign1 or COSE_Sign whose payload is a serialised SetKeyPolicy
   * @throws CvmpError SIGNATURE_INVALID, QUORUM, MALFORMED, INVALID_FIELD, POLICY_INVALID, POLICY_CHAIN,
   *   POLICY_NOT_TIGHTER, ALREADY_EXISTS (another policy has the same CVM name), NOT_FOUND
   */
  set(
    tenantId: string,
    signed: Uint8Array,
    call: CallContext,
    options?: { readonly dryRun?: boolean; readonly told?: Told },
  ): Promise<PolicyOutcome>;
  /** What would be in force with this version: checked as by `set`, nothing is stored. @throws as set */
  tryOut(tenantId: string, signed: Uint8Array): Promise<TriedOut>;
  /**
   * Has the sessions under a policy attest again before their next request.
   * @returns number of sessions that were told
   * @throws CvmpError NOT_FOUND
   */
  requireReattestation(tenantId: string, policyId: string, call: CallContext): Promise<number>;
  /** @param version 0: the current one. @throws CvmpError NOT_FOUND */
  get(tenantId: string, policyId: string, version: number): Promise<StoredPolicy>;
  /** Current versions, in the order of their ids. */
  list(tenantId: string, page: PageRequest): Promise<Page<StoredPolicy>>;
  /** How many there are, and the bytes of all their signed versions. */
  usage(tenantId: string): Promise<{ readonly count: number; readonly storedBytes: number }>;
  /** The current policy that covers this CVM (longest match); undefined: none. Validity not judged. */
  covering(tenantId: string, cvmName: string): Promise<StoredPolicy | undefined>;
}

/** Who asks, for the audit record. */
export interface CallContext {
  /** Id that the log uses for this call. */
  readonly requestId: string;
  /** Of this call, where it is traced. */
  readonly span?: Span | undefined;
  /** Absent: the server itself. */
  readonly caller?: { readonly role: string; readonly actor?: string };
  /** Absent: whoever asks may have as much verified as he likes. */
  readonly attestationCost?: HostCallContext['attestationCost'];
}

/** Who of them, as records name them: "tenant key", "tenant delegate ci". */
export function actorOf({ caller }: CallContext): string | undefined {
  if (caller === undefined) return undefined;
  return caller.actor === undefined ? caller.role : `${caller.role} ${caller.actor}`;
}

/** What claims prove under a policy. */
export interface Appraised {
  readonly level: number;
  /** None where they are accepted. */
  readonly failures: readonly FailedCheck[];
}

/** What an accepted session may build on. Held by the session, made by the verifier. */
export interface SessionGrant {
  readonly tenantId: string;
  readonly cvmName: string;
  /** The policy of the appraisal. */
  readonly policy: StoredPolicy;
  /** Level proven under it, at least 1. */
  readonly level: number;
  /** Names the running instance for its life; undefined where the evidence names none. */
  readonly instanceId: Uint8Array | undefined;
  /** Names the chip; undefined where the evidence hides it. */
  readonly chipId: Uint8Array | undefined;
  /** Of the agent, 16 bytes. */
  readonly sessionId: Uint8Array;
  readonly evidenceFormat: string;
  /** SHA-256 of the evidence. */
  readonly evidenceDigest: Uint8Array;
  /** End of the lease. */
  readonly leaseExpires: number;
  /**
   * Appraises the verified claims of this session again, after the tenant has set another policy.
   * @returns the level, 0 where not even level 1 holds, and every check that failed
   */
  appraise(policy: StoredPolicy): Appraised;
}

export interface AllocRequest {
  /** undefined: a new key; 16 bytes: re-allocation from its root key. */
  readonly keyId: Uint8Array | undefined;
  readonly purpose: KeyPurpose;
  /** 16 to 64 bytes. */
  readonly length: number;
  /** undefined: the floor. */
  readonly svn: number | undefined;
  /** At most 64 bytes. */
  readonly appContext: Uint8Array;
}

export interface AcquireRequest {
  readonly keyId: Uint8Array;
  /** undefined: the floor. */
  readonly svn: number | undefined;
  /** undefined: the newest. */
  readonly epoch?: number | undefined;
  readonly reason: 'boot' | 'rekey' | 'migrate';
}

export interface UpdateRequest {
  readonly keyId: Uint8Array;
  readonly targetSvn: number;
  /** Refused unless this is the floor now. */
  readonly expectedFloor: number | undefined;
  readonly retireBelow: number | undefined;
  readonly retireEpochsBelow?: number | undefined;
}

export interface ConfirmRequest {
  readonly keyId: Uint8Array;
  readonly svn: number;
  /** undefined: the newest. */
  readonly epoch?: number | undefined;
  /** 8 bytes. */
  readonly kcv: Uint8Array;
}

/** A released Security Key; the caller zeroises `securityKey` once it is sealed to the agent. */
export interface ReleasedKey {
  readonly keyId: Uint8Array;
  readonly securityKey: Uint8Array;
  /** SVN that it was derived for. */
  readonly svn: number;
  readonly svnFloor: number;
  readonly svnRetired: number;
  readonly epoch: number;
  /** 8 bytes. */
  readonly kcv: Uint8Array;
  readonly level: number;
  readonly rekeyAdvised: boolean;
  /** SVN that the disk should have, of the newest epoch. */
  readonly rekeySvn: number;
  /** SHA-256 of the signed policy that admitted this. */
  readonly policyDigest: Uint8Array;
}

export interface UpdateResult {
  readonly oldFloor: number;
  readonly newFloor: number;
  readonly svnRetired: number;
  readonly changed: boolean;
  /** Lowest epoch still served. */
  readonly lowestEpoch: number;
}

/** A key's record without its root keys; `svnFloor` includes the policy's. */
export interface KeyInfo extends Omit<KeyRecord, 'roots'> {
  /** Generations of the root key that are served, oldest first. */
  readonly epochs: readonly Omit<RootEpoch, 'wrapped'>[];
}

export interface Keys {
  /**
   * @param requestId 16 bytes; repeated with the same request it gives the same key (24 h)
   * @throws CvmpError SVN_BELOW_FLOOR, SVN_ABOVE_LEVEL, SVN_NOT_INCREASING, QUOTA, POLICY_REFUSED,
   *   POLICY_EXPIRED, NO_POLICY, REATTEST_REQUIRED, NOT_FOUND, KEY_*, IDEMPOTENCY_MISMATCH
   */
  allocate(
    grant: SessionGrant,
    requestId: Uint8Array,
    request: AllocRequest,
    told?: Told,
  ): Promise<ReleasedKey>;
  /** @throws as allocate, KEY_RETIRED */
  acquire(
    grant: SessionGrant,
    requestId: Uint8Array,
    request: AcquireRequest,
    told?: Told,
  ): Promise<ReleasedKey>;
  /** @throws as allocate, CAS_MISMATCH */
  update(
    grant: SessionGrant,
    requestId: Uint8Array,
    request: UpdateRequest,
    told?: Told,
  ): Promise<UpdateResult>;
  /** @throws as acquire, KCV_MISMATCH. @returns the floor */
  confirm(
    grant: SessionGrant,
    requestId: Uint8Array,
    request: ConfirmRequest,
    told?: Told,
  ): Promise<number>;
  /** @throws CvmpError NOT_FOUND */
  get(tenantId: string, keyId: Uint8Array): Promise<KeyInfo>;
  /** In the order of their ids. */
  list(tenantId: string, page: PageRequest): Promise<Page<KeyInfo>>;
  /** Keys that are not destroyed. */
  count(tenantId: string): Promise<number>;
}

export type AuditOperation =
  | 'attest'
  | 'key_alloc'
  | 'key_acquire'
  | 'key_update'
  | 'key_confirm'
  | 'key_suspend'
  | 'key_resume'
  | 'key_take_over'
  | 'key_mark_compromised'
  | 'key_rotate'
  | 'key_retire_epochs'
  | 'key_order_destroy'
  | 'key_cancel_destroy'
  | 'key_destroy'
  | 'set_key_policy'
  | 'require_reattestation'
  | 'register_tenant'
  | TenantChange
  | 'rollback_accepted'
  | 'store_anchored';

/** A decision to record. */
export interface AuditEvent extends LogEvent {
  readonly operation: AuditOperation;
  /** Of a KeyAcquire, as its agent says. */
  readonly reason?: AcquireRequest['reason'] | undefined;
}

/** Filled in once a decision is durable, whether it was granted or refused. */
export interface Told {
  receipt?: Receipt | undefined;
}

/** Counts of TPMs, by AK. */
export interface BootCountLog {
  /** @throws CvmpError TPM_ROLLED_BACK where they are less than what was recorded */
  check(counts: BootCounts): Promise<void>;
  /** Records an attestation that was granted, and the counts where they have risen, as one. */
  record(
    event: AuditEvent,
    counts: BootCounts,
    evidence?: AppraisedEvidence,
  ): Promise<Receipt | undefined>;
}

export interface AuditLog extends Pick<LogReading, 'list'> {
  /** Durable when it returns. Key operations and policies record themselves. */
  record(event: AuditEvent, evidence?: AppraisedEvidence): Promise<Receipt | undefined>;
}
