import { CvmpError } from '#core/errors.js';
import type { KeyRecord } from '#core/keying/key-record.js';
import { checkRevision } from '#core/keying/tenant-rules.js';
import type { AuditEvent, AuditOperation, KeyInfo, Told } from '../release/contract.js';
import { type Deciding, type Decision, deciding } from '../release/deciding.js';
import { countsKey, type KeyCounts, noKeys } from '../release/key-counts.js';
import { infoOf, keyPlace } from '../release/key-directory.js';
import type { KeyTools } from '../release/keys.js';
import { type Held, unchanged } from '../release/records.js';
import { requestDigest } from '../release/requests.js';
import type { TenantPolicies } from '../release/tenant-policies.js';
import { StaleRead } from '../store/journal.js';
import type { LatePut } from '../store/seal.js';
import type { Expectation } from '../store/store.js';
import type { TenantKeys } from '../store/tenant-keys.js';
import { marksOfDropped } from '../store/vault/erasing.js';

/** Who asks for what, as it is remembered and recorded. */
export interface AskedChange {
  readonly operation: AuditOperation;
  readonly tenantId: string;
  readonly keyId: Uint8Array;
  /** Of the caller's choice, with what else distinguishes the request; undefined: the agenda asks. */
  readonly request:
    | { readonly id: Uint8Array; readonly fields: readonly (string | number | boolean | null)[] }
    | undefined;
  readonly expectedRevision: number | undefined;
  /** Id that the log uses. */
  readonly requestId: string;
  readonly actor: string | undefined;
  /** SHA-256 of the signed order, where there is one. */
  readonly orderDigest?: Uint8Array | undefined;
}

/** What a change is decided on. */
export interface KeyScene {
  readonly now: number;
  readonly keys: TenantKeys;
  readonly policies: TenantPolicies;
  /** Keys under the policy of this one. */
  readonly counts: KeyCounts;
}

/** What a change writes. */
export interface KeyChange {
  /** The same record: nothing is left to do. */
  readonly next: KeyRecord;
  readonly puts?: readonly LatePut[];
  readonly deletes?: readonly Expectation[];
  readonly counts?: KeyCounts;
  /** Called when it is durable. */
  readonly done?: () => void;
}

interface Loaded {
  readonly policies: TenantPolicies;
  readonly keys: TenantKeys;
  readonly repeated: boolean;
  readonly held: Held<KeyRecord>;
}

/** Changes of one key by its tenant, decided and recorded as all decisions are. */
export class KeyChanges {
  readonly #tools: KeyTools;

  constructor(tools: KeyTools) {
    this.#tools = tools;
  }

  /**
   * @param act pure; a refusal throws
   * @throws CvmpError NOT_FOUND, IDEMPOTENCY_MISMATCH, CAS_MISMATCH
   */
  apply(
    asked: AskedChange,
    act: (record: KeyRecord, scene: KeyScene) => KeyChange,
    told: Told = {},
  ): Promise<KeyInfo> {
    const { operation, tenantId, keyId, requestId, actor, orderDigest: requestDigest } = asked;
    const { journal, policies, records, counts } = this.#tools;
    const who = { operation, tenantId, actor };
    const event: AuditEvent = { ...who, keyId, requestId, requestDigest };
    const work: Deciding<Loaded, KeyInfo> = {
      load: () => this.#load(asked),
      decide: (loaded, draft) => {
        const own = policies.peek(tenantId) ?? loaded.policies;
        const held = records.peek(loaded.held.key) ?? loaded.held;
        // Perhaps by the same request, which was not known yet when this one looked for it.
        if (held.version !== loaded.held.version) throw new StaleRead();
        return this.#decide(asked, { ...loaded, policies: own, held }, (record, scene) => {
          const change = act(record, scene);
          if (change.next.epoch !== record.epoch) draft.epoch = change.next.epoch;
          return change;
        });
      },
      forget: () => {
        records.forget(keyPlace(tenantId, keyId));
        policies.forget(tenantId);
        counts.clear();
      },
    };
    return deciding(journal, event, work, told);
  }

  async #load({ operation, tenantId, keyId, request, expectedRevision }: AskedChange) {
    const { policies, keyring, requests, records, counts } = this.#tools;
    const own = await policies.of(tenantId);
    const keys = await keyring.of(tenantId);
    const digest =
      request && requestDigest(operation, keyId, expectedRevision ?? null, ...request.fields);
    const outcome =
      request && digest && (await requests.find(tenantId, request.id, digest, keys.records));
    const held = await records.read(keyPlace(tenantId, keyId), keys.records);
    if (held === undefined) {
      throw new CvmpError('NOT_FOUND', 'there is no such key', { field: 'key_id' });
    }
    await counts.read(countsKey(tenantId, held.value.policyId), keys.records);
    return { policies: own, keys, repeated: outcome !== undefined, held };
  }

  #decide(
    asked: AskedChange,
    { policies, keys, repeated, held }: Loaded,
    act: (record: KeyRecord, scene: KeyScene) => KeyChange,
  ): Decision<KeyInfo> {
    const { records, counts, now: clock } = this.#tools;
    const basis = [unchanged(policies.index)];
    const answer = (record: KeyRecord) => infoOf(record, policies.current);
    if (repeated) {
      return { unchanged: [...basis, unchanged(held)], answer: () => answer(held.value) };
    }
    checkRevision(held.value, asked.expectedRevision);
    const now = clock();
    const place = countsKey(asked.tenantId, held.value.policyId);
    const counted = counts.peek(place) ?? { key: place, value: noKeys, version: 0 };
    const change = act(held.value, { now, keys, policies, counts: counted.value });
    const { next, puts = [], deletes = [] } = change;
    if (next === held.value) {
      return { unchanged: [...basis, unchanged(held)], answer: () => answer(next) };
    }
    const put = records.put(held.key, held.version, next, keys.records);
    const marks = marksOfDropped(held.value.roots, next.roots);
    const countPut =
      change.counts && counts.put(place, counted.version, change.counts, keys.records);
    return {
      puts: [
        put,
        ...puts,
        ...marks,
        ...this.#remember(asked, next, now, keys),
        ...(countPut === undefined ? [] : [countPut]),
      ],
      deletes,
      unchanged: basis,
      submitted: () => {
        records.submitted(put, next);
        if (countPut !== undefined) counts.submitted(countPut, change.counts!);
      },
      answer: async () => {
        if (marks.length > 0) await this.#tools.erase();
        change.done?.();
        return answer(next);
      },
    };
  }

  #remember(
    { operation, tenantId, keyId, request, expectedRevision }: AskedChange,
    { svnFloor, svnRetired }: KeyRecord,
    now: number,
    keys: TenantKeys,
  ): readonly LatePut[] {
    if (request === undefined) return [];
    const digest = requestDigest(operation, keyId, expectedRevision ?? null, ...request.fields);
    const floors = { oldFloor: svnFloor, newFloor: svnFloor, svnRetired };
    const outcome = { keyId, svn: 0, ...floors, changed: true, digest };
    return this.#tools.requests.puts(tenantId, request.id, outcome, now, keys.records);
  }
}
