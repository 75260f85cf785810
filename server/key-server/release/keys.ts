import { purposeNumbers, rootKeyLength } from '#core/keying/derivation.js';
import { type KeyRecord, newKeyRecord } from '#core/keying/key-record.js';
import * as rules from '#core/keying/rules.js';
import type { Page, PageRequest } from '#server/host/paging.js';
import type { Journal } from '../store/journal.js';
import type { LatePut } from '../store/seal.js';
import { marksOfDropped } from '../store/vault/erasing.js';
import { demandRoom, type Quotas } from '../tenants/quotas.js';
import type * as contract from './contract.js';
import { type Decision, deciding } from './deciding.js';
import * as counting from './key-counts.js';
import { type DirectoryTools, hex, KeyDirectory, keyPlace } from './key-directory.js';
import {
  type Asked,
  basis,
  existing,
  type Loaded,
  leased,
  type Matter,
  unmoved,
} from './matter.js';
import { type Held, type SealedRecords, unchanged } from './records.js';
import { type Outcome, type Requests, requestDigest } from './requests.js';
import { derive, reveal } from './reveal.js';
import { sceneOf } from './scene.js';

const keyIdLength = 16;
/** `released` is exact to the minute: an agent in a loop does not rewrite its record each time. */
const releasedEvery = 60_000;

export interface KeyTools extends DirectoryTools {
  readonly journal: Journal<contract.AuditEvent>;
  readonly requests: Requests;
  readonly now: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Destroys the erase keys that durable marks name. */
  readonly erase: () => Promise<void>;
  readonly quotas: Quotas;
  /** Throws where an operator has suspended the tenant. */
  readonly demandServed: (tenantId: string) => void;
}

/** Decides over keys; Security Keys are derived once the decision is durable, and never kept. */
export class KeyRelease implements contract.Keys {
  readonly #tools: KeyTools;
  readonly #records: SealedRecords<KeyRecord>;
  readonly #directory: KeyDirectory;

  constructor(tools: KeyTools) {
    this.#tools = tools;
    this.#records = tools.records;
    this.#directory = new KeyDirectory(tools);
  }

  async allocate(
    grant: contract.SessionGrant,
    requestId: Uint8Array,
    request: contract.AllocRequest,
    told?: contract.Told,
  ): Promise<contract.ReleasedKey> {
    const { keyId, purpose, length, svn, appContext } = request;
    const fields = [keyId ?? null, purposeNumbers[purpose], length, svn ?? null, appContext];
    const digest = requestDigest('key_alloc', grant.cvmName, ...fields);
    const asked = { operation: 'key_alloc', grant, requestId, keyId, svn, digest, told } as const;
    return this.#decide(asked, (matter) => {
      const { outcome } = matter;
      if (outcome !== undefined) return this.#release(matter, outcome.svn, undefined);
      return keyId === undefined ? this.#new(matter, request) : this.#reallocate(matter, svn);
    });
  }

  async acquire(
    grant: contract.SessionGrant,
    requestId: Uint8Array,
    { keyId, svn, epoch, reason }: contract.AcquireRequest,
    told?: contract.Told,
  ): Promise<contract.ReleasedKey> {
    const [operation, digest] = ['key_acquire', undefined] as const;
    const asked = { operation, grant, requestId, keyId, svn, reason, digest, told };
    return this.#decide(asked, (matter) => this.#release(matter, svn, epoch));
  }

  async update(
    grant: contract.SessionGrant,
    requestId: Uint8Array,
    request: contract.UpdateRequest,
    told?: contract.Told,
  ): Promise<contract.UpdateResult> {
    const { keyId, targetSvn: svn, expectedFloor, retireBelow, retireEpochsBelow } = request;
    const fields = [keyId, svn, expectedFloor ?? null, retireBelow ?? null];
    fields.push(retireEpochsBelow ?? null);
    const digest = requestDigest('key_update', grant.cvmName, ...fields);
    const asked = { operation: 'key_update', grant, requestId, keyId, svn, digest, told } as const;
    return this.#decide(asked, (matter) => {
      const { outcome } = matter;
      if (outcome === undefined) return this.#raise(matter, request);
      const lowestEpoch = existing(matter).value.roots[0]?.epoch ?? 0;
      return { answer: () => ({ ...outcome, lowestEpoch }) };
    });
  }

  async confirm(
    grant: contract.SessionGrant,
    requestId: Uint8Array,
    { keyId, svn, epoch, kcv }: contract.ConfirmRequest,
    told?: contract.Told,
  ): Promise<number> {
    const [operation, digest] = ['key_confirm', undefined] as const;
    const asked = { operation, grant, requestId, keyId, svn, digest, told };
    return this.#decide(asked, (matter) => {
      const held = existing(matter);
      const record = leased(matter, held.value);
      const release = rules.confirmable(record, matter.proven, svn, epoch);
      const expected = derive(matter.keys, record, release);
      expected.securityKey.fill(0);
      const at = { epoch: release.epoch, now: matter.now };
      const next = rules.confirm(record, kcv, expected.kcv, at);
      matter.event.epoch = release.epoch;
      const answer = () => release.svnFloor;
      if (next === held.value) return { unchanged: basis(matter, held), answer };
      return this.#write(matter, held, next, { puts: [], answer });
    });
  }

  get(tenantId: string, keyId: Uint8Array): Promise<contract.KeyInfo> {
    return this.#directory.get(tenantId, keyId);
  }

  list(tenantId: string, page: PageRequest): Promise<Page<contract.KeyInfo>> {
    return this.#directory.list(tenantId, page);
  }

  count(tenantId: string): Promise<number> {
    return this.#directory.count(tenantId);
  }

  #decide<T>(asked: Asked, act: (matter: Matter) => Decision<T>): Promise<T> {
    const { operation, grant, requestId, keyId, svn } = asked;
    const { journal, policies, counts, now } = this.#tools;
    const { tenantId, cvmName, evidenceDigest } = grant;
    // Every field, so that what is found later changes no shape: spreads cost here (measured).
    const event: contract.AuditEvent = {
      operation,
      tenantId,
      code: undefined,
      failedChecks: undefined,
      cvmName,
      keyId,
      svn,
      level: undefined,
      evidenceDigest,
      policyDigest: undefined,
      policyId: undefined,
      policyVersion: undefined,
      svnFloor: undefined,
      epoch: undefined,
      evidenceFormat: grant.evidenceFormat,
      sessionId: grant.sessionId,
      actor: 'agent',
      reason: asked.reason,
      requestId: hex(requestId),
    };
    return deciding(
      journal,
      event,
      {
        load: () => this.#load(asked),
        decide: (loaded, record) => {
          this.#tools.demandServed(tenantId);
          const own = policies.peek(tenantId) ?? loaded.own;
          const scene = sceneOf(grant, loaded.keys, own, now(), record);
          const held = loaded.held && (this.#records.peek(loaded.held.key) ?? loaded.held);
          const key = counting.countsKey(tenantId, scene.policy.policy.policyId);
          const counted = counts.peek(key) ?? { key, value: counting.noKeys, version: 0 };
          return act({
            grant,
            now: scene.now,
            keys: scene.keys,
            policies: own,
            policy: scene.policy,
            proven: scene.proven,
            event: record,
            asked,
            outcome: loaded.outcome,
            held,
            counts: counted,
          });
        },
        forget: () => {
          this.#records.forget(keyPlace(tenantId, keyId ?? new Uint8Array()));
          policies.forget(tenantId);
          counts.clear();
        },
      },
      asked.told,
    );
  }

  /** At once, where a request changes nothing and all that it needs is in memory. */
  #load(asked: Asked): Loaded | Promise<Loaded> {
    const { tenantId } = asked.grant;
    const own = this.#tools.policies.peek(tenantId);
    const keys = this.#tools.keyring.peek(tenantId);
    const known = asked.digest === undefined && asked.keyId !== undefined;
    const held = known ? this.#records.peek(keyPlace(tenantId, asked.keyId)) : undefined;
    if (own === undefined || keys === undefined || held === undefined) return this.#read(asked);
    return { own, keys, outcome: undefined, held };
  }

  async #read({ grant, requestId, keyId, digest }: Asked): Promise<Loaded> {
    const { tenantId } = grant;
    const { policies, keyring, requests } = this.#tools;
    const own = await policies.of(tenantId);
    const keys = await keyring.of(tenantId);
    const outcome = digest && (await requests.find(tenantId, requestId, digest, keys.records));
    const named = keyId ?? outcome?.keyId;
    const held = named && (await this.#records.read(keyPlace(tenantId, named), keys.records));
    if (digest !== undefined) await this.#directory.count(tenantId);
    return { own, keys, outcome, held };
  }

  /** A new KeyID with a new root key. */
  #new(matter: Matter, request: contract.AllocRequest): Decision<contract.ReleasedKey> {
    const { grant, now, keys, policy, proven, counts, event } = matter;
    const release = rules.allocate(proven, request, counting.total(counts.value));
    const { tenantId, cvmName } = grant;
    const all = counting.countedKeys(this.#tools.counts, tenantId, matter.policies);
    demandRoom(all + 1, this.#tools.quotas.keys(tenantId), 'keys');
    const keyId = this.#tools.randomBytes(keyIdLength);
    const rootKey = this.#tools.randomBytes(rootKeyLength);
    const erase = this.#tools.keyring.newErase();
    const wrapped = keys.wrapRootKey(rootKey, { tenantId, keyId, epoch: 1 }, erase);
    rootKey.fill(0);
    erase.key.fill(0);
    const { policyId } = policy.policy;
    const named = { ...request, keyId, tenantId, policyId, cvmName, wrapped };
    const unleased = newKeyRecord(named, release, now);
    const record = leased(matter, unleased);
    event.keyId = keyId;
    event.svn = release.svn;
    event.svnFloor = release.svnFloor;
    event.epoch = release.epoch;
    const held = { key: keyPlace(tenantId, keyId), value: record, version: 0 };
    const counted = counting.withKey(counts.value, release.svnFloor);
    return this.#write(matter, held, record, {
      puts: this.#remember(matter, { ...unmoved(record), svn: release.svn, changed: true }),
      counted,
      answer: () => reveal(matter, record, release),
    });
  }

  /** A Security Key from the root key that there is (draft s.3.3.4). */
  #reallocate(matter: Matter, svn: number | undefined): Decision<contract.ReleasedKey> {
    const { now, proven, event } = matter;
    const held = existing(matter);
    const { next, release } = rules.reallocate(leased(matter, held.value), proven, svn);
    event.svn = release.svn;
    event.epoch = release.epoch;
    const record = { ...next, released: now };
    return this.#write(matter, held, record, {
      puts: this.#remember(matter, { ...unmoved(record), svn: release.svn, changed: true }),
      counted: this.#moved(matter, held.value, record),
      answer: () => reveal(matter, record, release),
    });
  }

  /** A Security Key of a key as it is. */
  #release(
    matter: Matter,
    svn: number | undefined,
    epoch: number | undefined,
  ): Decision<contract.ReleasedKey> {
    const { now, proven, event } = matter;
    const held = existing(matter);
    const release = rules.acquire(held.value, proven, svn, epoch);
    const record = leased(matter, held.value);
    event.svn = release.svn;
    event.epoch = release.epoch;
    event.keyId = record.keyId;
    const answer = () => reveal(matter, held.value, release);
    if (record === held.value && now - record.released < releasedEvery) {
      return { unchanged: basis(matter, held), answer };
    }
    return this.#write(matter, held, { ...record, released: now }, { puts: [], answer });
  }

  #raise(matter: Matter, request: contract.UpdateRequest): Decision<contract.UpdateResult> {
    const held = existing(matter);
    const record = leased(matter, held.value);
    const { next, oldFloor, changed } = rules.update(record, matter.proven, request);
    const { svnFloor: newFloor, svnRetired } = next;
    const result = { oldFloor, newFloor, svnRetired, changed };
    const lowestEpoch = next.roots[0]?.epoch ?? 0;
    return this.#write(matter, held, next, {
      puts: this.#remember(matter, { ...result, keyId: next.keyId, svn: 0 }),
      counted: this.#moved(matter, held.value, next),
      answer: () => ({ ...result, lowestEpoch }),
    });
  }

  /** Counts after the floor of a key has risen; undefined where it has not. */
  #moved(
    { counts, proven }: Matter,
    before: KeyRecord,
    after: KeyRecord,
  ): counting.KeyCounts | undefined {
    const from = rules.effectiveFloor(before, proven.policy);
    return from === after.svnFloor
      ? undefined
      : counting.withRaise(counts.value, from, after.svnFloor);
  }

  #remember(matter: Matter, outcome: Outcome): readonly LatePut[] {
    const { asked, grant, keys, now } = matter;
    if (asked.digest === undefined) return [];
    const remembered = { ...outcome, digest: asked.digest };
    const { requests } = this.#tools;
    return requests.puts(grant.tenantId, asked.requestId, remembered, now, keys.records);
  }

  #write<T>(
    matter: Matter,
    held: Held<KeyRecord>,
    next: KeyRecord,
    more: {
      readonly puts: readonly LatePut[];
      readonly counted?: counting.KeyCounts | undefined;
      readonly answer: () => T;
    },
  ): Decision<T> {
    const { records } = matter.keys;
    const { counts } = this.#tools;
    const put = this.#records.put(held.key, held.version, next, records);
    const { counted } = more;
    const marks = marksOfDropped(held.value.roots, next.roots);
    const countPut =
      counted && counts.put(matter.counts.key, matter.counts.version, counted, records);
    return {
      puts: [put, ...more.puts, ...marks, ...(countPut === undefined ? [] : [countPut])],
      unchanged: [unchanged(matter.policies.index)],
      submitted: () => {
        this.#records.submitted(put, next);
        if (countPut !== undefined && counted !== undefined) counts.submitted(countPut, counted);
      },
      answer: marks.length === 0 ? more.answer : () => this.#tools.erase().then(more.answer),
    };
  }
}
