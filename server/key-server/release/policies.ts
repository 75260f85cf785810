import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { KeyingPolicy } from '#core/keying/policy.js';
import { checkFirst, checkSuccessor } from '#core/keying/policy-rules.js';
import { crypto } from '#crypto';
import { everyKey, type Tenant } from '#server/host/callers/tenant.js';
import type { TenantRegistry } from '#server/host/callers/tenants.js';
import { decodePageToken, type Page, type PageRequest, pageOf } from '#server/host/paging.js';
import { knownFormats, readSignedPolicy } from '#wire/policy.js';
import type { NoticeBoard } from '../notices.js';
import type { Journal } from '../store/journal.js';
import type { Keyring } from '../store/keyring.js';
import type { LatePut, RecordSealer } from '../store/seal.js';
import { demandSigners } from '../tenants/quorums.js';
import { demandRoom, type Quotas } from '../tenants/quotas.js';
import {
  type AuditEvent,
  actorOf,
  type CallContext,
  type Policies,
  type PolicyOutcome,
  type StoredPolicy,
  type Told,
  type TriedOut,
} from './contract.js';
import { type Decision, deciding } from './deciding.js';
import { countsKey, type KeyCounts, noKeys, raisedTo } from './key-counts.js';
import { type Held, SealedRecords, unchanged } from './records.js';
import { standingOf } from './scene.js';
import {
  type PolicyIndex,
  policyIndexCodec,
  TenantPolicies,
  warningsFor,
} from './tenant-policies.js';

const tenantsMax = 1000;
const indexKey = (tenantId: string) => `policies/${tenantId}`;
const versionKey = (tenantId: string, policyId: string, version: number) =>
  `policy/${tenantId}/${policyId}/${version.toString(16).padStart(14, '0')}`;

interface PolicyTools {
  readonly journal: Journal<AuditEvent>;
  readonly keyring: Keyring;
  readonly tenants: TenantRegistry;
  readonly counts: SealedRecords<KeyCounts>;
  readonly notices: NoticeBoard;
  readonly quotas: Quotas;
  readonly now: () => number;
}

/** Keying Policies as their tenants signed them; signatures are verified again when they are read. */
export class PolicyStore implements Policies {
  readonly #tools: PolicyTools;
  readonly #index: SealedRecords<PolicyIndex>;
  readonly #tenants = new Map<string, TenantPolicies>();

  constructor(tools: PolicyTools) {
    this.#tools = tools;
    this.#index = new SealedRecords(tools.journal, policyIndexCodec, tenantsMax);
  }

  async set(
    tenantId: string,
    signed: Uint8Array,
    call: CallContext,
    { dryRun = false, told = {} }: { readonly dryRun?: boolean; readonly told?: Told } = {},
  ): Promise<PolicyOutcome> {
    if (dryRun) {
      const { answer } = await this.#plan(tenantId, signed);
      return { ...(await answer(undefined)), accepted: false };
    }
    const policyDigest = crypto.hash('sha256', signed);
    const event: AuditEvent = {
      operation: 'set_key_policy',
      tenantId,
      actor: actorOf(call),
      policyDigest,
      requestId: call.requestId,
    };
    let changed = false;
    const planning = {
      load: () => this.#plan(tenantId, signed),
      decide: (plan: Decision<PolicyOutcome>) => {
        changed = plan.puts !== undefined;
        return plan;
      },
      forget: () => {
        this.forget(tenantId);
        this.#tools.counts.clear();
      },
    };
    const outcome = await deciding(this.#tools.journal, event, planning, told);
    if (changed) this.#tell(tenantId, outcome.policy.policyId);
    return outcome;
  }

  async tryOut(tenantId: string, signed: Uint8Array): Promise<TriedOut> {
    const { answer } = await this.#plan(tenantId, signed);
    const outcome = { ...(await answer(undefined)), accepted: false };
    const before = await this.of(tenantId);
    return {
      outcome,
      before,
      after: new TenantPolicies(before.index, before.currentWith(outcome)),
    };
  }

  async requireReattestation(
    tenantId: string,
    policyId: string,
    call: CallContext,
  ): Promise<number> {
    const { journal, keyring } = this.#tools;
    const event: AuditEvent = {
      operation: 'require_reattestation',
      tenantId,
      actor: actorOf(call),
      requestId: call.requestId,
    };
    return deciding(journal, event, {
      load: async () => ({
        own: await this.of(tenantId),
        records: (await keyring.of(tenantId)).records,
      }),
      decide: ({ own: loaded, records }, record) => {
        const own = this.peek(tenantId) ?? loaded;
        const current = own.current.get(policyId);
        if (current === undefined) {
          throw new CvmpError('NOT_FOUND', `tenant ${tenantId} has no such policy`);
        }
        record.policyDigest = current.digest;
        const ordered = { ...current, generation: current.generation + 1 };
        const { put, submitted } = this.#indexed(tenantId, ordered, own, records);
        return { puts: [put], submitted, answer: () => this.#tell(tenantId, policyId) };
      },
      forget: () => this.forget(tenantId),
    });
  }

  /** Running sessions of CVMs that the policy covers learn what it means to them. */
  #tell(tenantId: string, policyId: string): number {
    const { notices, now } = this.#tools;
    return notices.publish(tenantId, {
      kind: 'policy-changed',
      standing: (grant) => {
        const own = this.peek(tenantId);
        if (own?.covering(grant.cvmName)?.policy.policyId !== policyId) return undefined;
        return standingOf(grant, own, now());
      },
    });
  }

  async get(tenantId: string, policyId: string, version: number): Promise<StoredPolicy> {
    const current = (await this.of(tenantId)).current.get(policyId);
    if (current === undefined || version > current.policy.version) {
      throw new CvmpError('NOT_FOUND', `tenant ${tenantId} has no such policy`);
    }
    if (version === 0 || version === current.policy.version) return current;
    return this.#load(tenantId, policyId, version);
  }

  async list(tenantId: string, { pageSize, pageToken }: PageRequest): Promise<Page<StoredPolicy>> {
    const after = decodePageToken(pageToken) ?? '';
    const policies = [...(await this.of(tenantId)).current.values()];
    const rest = policies.filter(({ policy }) => policy.policyId > after);
    return pageOf(rest, pageSize, ({ policy }) => policy.policyId);
  }

  async covering(tenantId: string, cvmName: string): Promise<StoredPolicy | undefined> {
    return (await this.of(tenantId)).covering(cvmName);
  }

  /** Without waiting, where they are in memory. */
  peek(tenantId: string): TenantPolicies | undefined {
    return this.#tenants.get(tenantId);
  }

  /** The policies of a registered tenant; none of another one. @throws CvmpError STORE_CORRUPT */
  async of(tenantId: string): Promise<TenantPolicies> {
    const known = this.#tenants.get(tenantId);
    if (known !== undefined) return known;
    const { tenants, keyring } = this.#tools;
    const key = indexKey(tenantId);
    const none = { key, value: [], version: 0 };
    if ((await tenants.get(tenantId)) === undefined) return new TenantPolicies(none, new Map());
    const { records } = await keyring.of(tenantId);
    const index = (await this.#index.read(key, records)) ?? none;
    const current = new Map<string, StoredPolicy>();
    for (const { policyId, version, digest, generation } of index.value) {
      const policy = { ...(await this.#load(tenantId, policyId, version)), generation };
      if (!equalBytes(policy.digest, digest)) {
        throw new CvmpError('STORE_CORRUPT', `policy ${policyId} is not the one of the index`);
      }
      current.set(policyId, policy);
    }
    return this.#tenants.get(tenantId) ?? this.#remember(tenantId, index, current);
  }

  #remember(
    tenantId: string,
    index: Held<PolicyIndex>,
    current: ReadonlyMap<string, StoredPolicy>,
  ): TenantPolicies {
    const policies = new TenantPolicies(index, current);
    this.#tenants.delete(tenantId);
    this.#tenants.set(tenantId, policies);
    const oldest = this.#tenants.keys().next();
    if (this.#tenants.size > tenantsMax && !oldest.done) this.#tenants.delete(oldest.value);
    return policies;
  }

  /** Drops what is in memory, after a stale read. */
  forget(tenantId: string): void {
    this.#tenants.delete(tenantId);
    this.#index.forget(indexKey(tenantId));
  }

  /** Reads a version and verifies its signature, so that a changed row is never believed. */
  async #load(tenantId: string, policyId: string, version: number): Promise<StoredPolicy> {
    const { journal, keyring } = this.#tools;
    const key = versionKey(tenantId, policyId, version);
    const stored = await journal.get(key);
    if (stored === undefined) {
      throw new CvmpError('STORE_CORRUPT', `the record ${key} is missing`);
    }
    const { records } = await keyring.of(tenantId);
    const signed = records.open(key, stored);
    const policy = await readSignedPolicy(signed, everyKey(await this.#tenant(tenantId)));
    return { policy, signed, digest: crypto.hash('sha256', signed), generation: 0 };
  }

  async #tenant(tenantId: string): Promise<Tenant> {
    const tenant = await this.#tools.tenants.get(tenantId);
    if (tenant === undefined) {
      throw new CvmpError('NOT_FOUND', `tenant ${tenantId} is not registered`);
    }
    return tenant;
  }

  async #plan(tenantId: string, signed: Uint8Array): Promise<Decision<PolicyOutcome>> {
    const { now } = this.#tools;
    const policy = await readSignedPolicy(signed, [(await this.#tenant(tenantId)).publicKey]);
    if (policy.tenantId !== tenantId) {
      const what = `policy.tenant_id is ${policy.tenantId}, not the signer's ${tenantId}`;
      throw new CvmpError('INVALID_FIELD', what, { field: 'policy.tenant_id' });
    }
    const own = await this.of(tenantId);
    const current = own.current.get(policy.policyId);
    const digest = crypto.hash('sha256', signed);
    const generation = (current?.generation ?? 0) + (policy.reattest ? 1 : 0);
    const stored = { policy, signed, digest, generation };
    const outcome = (keysRaised: number): PolicyOutcome => ({
      ...stored,
      accepted: true,
      keysRaised,
      warnings: warningsFor(policy, own.others(policy.policyId), keysRaised, now()),
      time: now(),
    });
    if (current !== undefined && equalBytes(current.digest, stored.digest)) {
      return { unchanged: [unchanged(own.index)], answer: () => outcome(0) };
    }
    await demandSigners(stored, current?.policy, own.others(policy.policyId));
    checkPlace(stored, current, own);
    this.#demandRoom(stored, current, own);
    const { keysRaised, puts } = await this.#raise(policy);
    const { put, submitted } = await this.#store(tenantId, stored, own);
    return {
      puts: [...put, ...puts.map(({ record }) => record)],
      submitted: () => {
        submitted();
        for (const { record, counts } of puts) this.#tools.counts.submitted(record, counts);
      },
      answer: () => outcome(keysRaised),
    };
  }

  /** @throws CvmpError QUOTA */
  #demandRoom(
    { policy: { tenantId }, signed }: StoredPolicy,
    current: StoredPolicy | undefined,
    own: TenantPolicies,
  ): void {
    const { quotas } = this.#tools;
    const count = own.current.size + (current === undefined ? 1 : 0);
    demandRoom(count, quotas.policies(tenantId), 'policies');
    const bytes = own.storedBytes + signed.length;
    demandRoom(bytes, quotas.storedBytes(tenantId), 'bytes of policies');
  }

  async usage(tenantId: string): Promise<{ readonly count: number; readonly storedBytes: number }> {
    const own = await this.of(tenantId);
    return { count: own.current.size, storedBytes: own.storedBytes };
  }

  async #store(
    tenantId: string,
    stored: StoredPolicy,
    own: TenantPolicies,
  ): Promise<{ readonly put: readonly LatePut[]; readonly submitted: () => void }> {
    const { policyId, version } = stored.policy;
    const { records } = await this.#tools.keyring.of(tenantId);
    const place = versionKey(tenantId, policyId, version);
    const { put, submitted } = this.#indexed(tenantId, stored, own, records);
    return { put: [records.put(place, 0, stored.signed), put], submitted };
  }

  /** The index with what is in force of a policy from now on. */
  #indexed(
    tenantId: string,
    stored: StoredPolicy,
    own: TenantPolicies,
    records: RecordSealer,
  ): { readonly put: LatePut; readonly submitted: () => void } {
    const { digest, generation } = stored;
    const { policyId, version } = stored.policy;
    const row = own.index.value.find((one) => one.policyId === policyId);
    const added = row?.version === version ? 0 : stored.signed.length;
    const bytes = (row?.bytes ?? 0) + added;
    const index = own.indexWith({ policyId, version, digest, generation, bytes });
    const put = this.#index.put(own.index.key, own.index.version, index, records);
    return {
      put,
      submitted: () => {
        this.#index.submitted(put, index);
        const held = { key: put.key, value: index, version: put.version };
        this.#remember(tenantId, held, own.currentWith(stored));
      },
    };
  }

  /** The floors of existing keys rise with the policy's; only the counts say so at once. */
  async #raise({ tenantId, policyId, svnFloor }: KeyingPolicy) {
    const { counts, keyring } = this.#tools;
    const { records } = await keyring.of(tenantId);
    const key = countsKey(tenantId, policyId);
    const held = (await counts.read(key, records)) ?? { key, value: noKeys, version: 0 };
    const next = raisedTo(held.value, svnFloor);
    if (next.raised === 0) return { keysRaised: 0, puts: [] };
    const record = counts.put(key, held.version, next.counts, records);
    return { keysRaised: next.raised, puts: [{ record, counts: next.counts }] };
  }
}

/** @throws CvmpError POLICY_CHAIN, POLICY_NOT_TIGHTER, ALREADY_EXISTS */
function checkPlace(
  { policy }: StoredPolicy,
  current: StoredPolicy | undefined,
  own: TenantPolicies,
): void {
  if (current !== undefined) {
    checkSuccessor(current.policy, current.digest, policy, knownFormats);
  } else {
    checkFirst(policy);
  }
  for (const other of own.others(policy.policyId)) {
    const i = policy.cvmNames.findIndex((name) => other.cvmNames.includes(name));
    if (i < 0) continue;
    const field = `policy.cvm_names[${i}]`;
    const what = `${field} is a name of policy ${other.policyId} too`;
    throw new CvmpError('ALREADY_EXISTS', what, { field });
  }
}
