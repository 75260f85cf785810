import { fromHex, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { rootKeyLength } from '#core/keying/derivation.js';
import type { KeyRecord } from '#core/keying/key-record.js';
import { effectiveFloor } from '#core/keying/rules.js';
import * as rules from '#core/keying/tenant-rules.js';
import type { TenantRegistry } from '#server/host/callers/tenants.js';
import type { NoticeBoard } from '../notices.js';
import {
  type AuditOperation,
  actorOf,
  type CallContext,
  type KeyInfo,
  type Told,
} from '../release/contract.js';
import { withoutKey } from '../release/key-counts.js';
import { keyPlace } from '../release/key-directory.js';
import type { KeyTools } from '../release/keys.js';
import { StaleRead } from '../store/journal.js';
import { Agenda, agendaDelete, type Task } from './agenda.js';
import type { KeyAdmin, KeyOrder, Tombstone } from './contract.js';
import { acceptOrder } from './destruction.js';
import { type AskedChange, type KeyChange, KeyChanges, type KeyScene } from './key-changes.js';

type Field = string | number | boolean | null;

/** What tenants do to their keys, and what becomes due. */
export class KeyLife implements KeyAdmin {
  readonly #tools: KeyTools;
  readonly #notices: NoticeBoard;
  readonly #tenants: Pick<TenantRegistry, 'get'>;
  readonly #changes: KeyChanges;
  readonly #agenda: Agenda;

  constructor(tools: KeyTools, notices: NoticeBoard, tenants: Pick<TenantRegistry, 'get'>) {
    this.#tools = tools;
    this.#notices = notices;
    this.#tenants = tenants;
    this.#changes = new KeyChanges(tools);
    const { store, now } = tools;
    this.#agenda = new Agenda({ store, now, perform: (task) => this.#fallDue(task) });
  }

  /** Begins with what became due while no server ran. */
  start(): void {
    this.#agenda.start();
  }

  close(): Promise<void> {
    return this.#agenda.close();
  }

  suspend(order: KeyOrder): Promise<KeyInfo> {
    return this.#changes.apply(asked('key_suspend', order), (record, { now }) => ({
      next: rules.suspend(record, now),
      done: () => this.#tell('key-suspended', order),
    }));
  }

  resume(order: KeyOrder): Promise<KeyInfo> {
    return this.#changes.apply(asked('key_resume', order), (record, { now }) => ({
      next: rules.resume(record, now),
      done: () => this.#tell('key-resumed', order),
    }));
  }

  takeOver(order: KeyOrder): Promise<KeyInfo> {
    return this.#changes.apply(asked('key_take_over', order), (record, { now }) => ({
      next: rules.takeOver(record, now),
      done: () => this.#tell('key-taken-over', order),
    }));
  }

  markCompromised(order: KeyOrder): Promise<KeyInfo> {
    return this.#changes.apply(asked('key_mark_compromised', order), (record, { now }) => ({
      next: rules.markCompromised(record, now),
      done: () => this.#tell('rekey-advised', order),
    }));
  }

  rotate(order: KeyOrder & { readonly agentsRetireEpochs: boolean }): Promise<KeyInfo> {
    const { agentsRetireEpochs, keyId, tenantId } = order;
    return this.#changes.apply(
      asked('key_rotate', order, agentsRetireEpochs),
      (record, { now, keys }) => {
        const epoch = record.epoch + 1;
        const rootKey = this.#tools.randomBytes(rootKeyLength);
        const erase = this.#tools.keyring.newErase();
        const wrapped = keys.wrapRootKey(rootKey, { tenantId, keyId, epoch }, erase);
        rootKey.fill(0);
        erase.key.fill(0);
        const root = { epoch, wrapped, created: now, confirmed: 0 };
        return {
          next: rules.rotate(record, root, { agentsRetireEpochs, now }),
          done: () => this.#tell('rekey-advised', order),
        };
      },
    );
  }

  retireEpochs(order: KeyOrder & { readonly below: number }): Promise<KeyInfo> {
    const { below } = order;
    return this.#changes.apply(asked('key_retire_epochs', order, below), (record, { now }) => ({
      next: rules.retireEpochs(record, below, now),
    }));
  }

  async destroy(tenantId: string, signed: Uint8Array, call: CallContext): Promise<KeyInfo> {
    const parts = { tools: this.#tools, tenants: this.#tenants, changes: this.#changes };
    const ordered = await acceptOrder(parts, tenantId, signed, call);
    const due = ordered.destruction?.due;
    if (ordered.state !== 'destroy-pending' || due === undefined) return ordered;
    this.#tell('key-suspended', ordered);
    this.#agenda.added(due);
    return ordered;
  }

  cancelDestroy(order: KeyOrder): Promise<KeyInfo> {
    return this.#changes.apply(asked('key_cancel_destroy', order), (record, { now }) => ({
      next: rules.cancelDestruction(record, now),
      deletes: agendaOf(record).map(agendaDelete),
    }));
  }

  runDue(): Promise<void> {
    return this.#agenda.run();
  }

  get vaultCopied(): number | undefined {
    return this.#tools.keyring.backupHorizon;
  }

  async tombstones(tenantId: string, keyIds: readonly Uint8Array[]): Promise<readonly Tombstone[]> {
    const { keyring, records } = this.#tools;
    const keys = await keyring.of(tenantId);
    const found: Tombstone[] = [];
    for (const keyId of keyIds) {
      const held = await records.read(keyPlace(tenantId, keyId), keys.records);
      if (held === undefined) {
        throw new CvmpError('NOT_FOUND', 'there is no such key', { field: 'key_ids' });
      }
      const { roots: _, destruction, ...record } = held.value;
      if (record.state !== 'destroyed' || destruction === undefined) {
        const what = `key ${toHex(keyId)} is ${record.state}, not destroyed`;
        throw new CvmpError('KEY_STATE', what, { field: 'key_ids' });
      }
      const { requested: ordered, orderDigest, logIndex } = destruction;
      found.push({ ...record, destruction, epochs: [], ordered, orderDigest, logIndex });
    }
    return found;
  }

  /** The tombstone is durable before anything of the key is erased. */
  async #fallDue(task: Task): Promise<void> {
    const { tenantId, key } = task;
    const keyId = fromHex(key);
    const { journal, keyring, records } = this.#tools;
    const keys = await keyring.of(tenantId);
    const held = await records.read(keyPlace(tenantId, keyId), keys.records);
    const pending = held?.value.state === 'destroy-pending';
    if (!pending || held.value.destruction?.due !== task.due) {
      await unlessStale(journal.submit({ deletes: [agendaDelete(task)] }));
      return;
    }
    const change: AskedChange = {
      operation: 'key_destroy',
      tenantId,
      keyId,
      request: undefined,
      expectedRevision: held.value.revision,
      requestId: `agenda-${key}`,
      actor: 'server',
      orderDigest: held.value.destruction.orderDigest,
    };
    const told: Told = {};
    const act = (record: KeyRecord, { now, policies, counts }: KeyScene): KeyChange => {
      const policy = policies.current.get(record.policyId)?.policy;
      const floor = policy === undefined ? record.svnFloor : effectiveFloor(record, policy);
      return {
        next: rules.destroy(record, now),
        deletes: [agendaDelete(task)],
        counts: withoutKey(counts, floor),
        done: () => this.#tell('key-destroyed', change),
      };
    };
    try {
      await this.#changes.apply(change, act, told);
    } catch (error) {
      // It was taken back at the last moment; the log says so, and the agenda has it no more.
      if (error instanceof CvmpError && error.code === 'CAS_MISMATCH') return;
      throw error;
    }
    await this.#noteRecord(change, told);
  }

  /** For receipts; what a crash leaves out is looked for in the log. */
  async #noteRecord({ tenantId, keyId }: AskedChange, { receipt }: Told): Promise<void> {
    const { journal, keyring, records } = this.#tools;
    const keys = await keyring.of(tenantId);
    const held = await records.read(keyPlace(tenantId, keyId), keys.records);
    const destruction = held?.value.destruction;
    if (receipt === undefined || held === undefined || destruction === undefined) return;
    const next = { ...held.value, destruction: { ...destruction, logIndex: receipt.index } };
    const put = records.put(held.key, held.version, next, keys.records);
    const noted = { puts: [put], submitted: () => records.submitted(put, next) };
    await unlessStale(journal.submit(noted));
  }

  #tell(
    kind: 'key-suspended' | 'key-resumed' | 'key-destroyed' | 'key-taken-over' | 'rekey-advised',
    { tenantId, keyId }: { readonly tenantId: string; readonly keyId: Uint8Array },
  ): void {
    this.#notices.publish(tenantId, { kind, keyId });
  }
}

/** Somebody else was faster, with the same or with something newer. */
async function unlessStale(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof StaleRead)) throw error;
  }
}

function asked(operation: AuditOperation, order: KeyOrder, ...fields: Field[]): AskedChange {
  const { tenantId, keyId, requestId: id, expectedRevision, call } = order;
  const request = { id, fields };
  const who = { requestId: call.requestId, actor: actorOf(call) };
  return { operation, tenantId, keyId, request, expectedRevision, ...who };
}

function agendaOf({ tenantId, keyId, destruction }: KeyRecord): readonly Task[] {
  return destruction === undefined ? [] : [{ tenantId, key: toHex(keyId), due: destruction.due }];
}
