import { ecPublicKey } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { DecisionLog } from '#server/key-server/log/log.js';
import { LogReading } from '#server/key-server/log/reading.js';
import { type Rollback, RollbackGuard } from '#server/key-server/log/rollback.js';
import type { AuditEvent } from '#server/key-server/release/contract.js';
import { Journal } from '#server/key-server/store/journal.js';
import { onlyKey, RecordSealer } from '#server/key-server/store/seal.js';
import { MemoryStore } from '../../../fakes/memory-store.js';

/** One identity, as a server that is copied keeps it. */
export const identity: EcPrivateKey = await crypto.generateEcKey('P-256');
export const keyServer = ecPublicKey(identity.curve, identity.publicPoint);

const key = onlyKey(new Uint8Array(32).fill(3));

export const sealerOf = (store: MemoryStore) =>
  new RecordSealer(crypto, key, store.id, crypto.randomBytes);

/** A log over a store, with all that reads and guards it. */
export async function openLog(store: MemoryStore, clock = { now: 5 }) {
  const alarms: Rollback[] = [];
  const now = () => clock.now;
  const sealer = sealerOf(store);
  const log = await DecisionLog.open(store, { sealer, identity, now });
  const journal = new Journal<AuditEvent>(store, log);
  const alarm = (rollback: Rollback) => void alarms.push(rollback);
  const tools = { store, sealer, identity, log, journal, now, alarm };
  const guard = await RollbackGuard.open(tools);
  return { store, log, journal, guard, alarms, clock, reading: new LogReading(tools) };
}

export type OpenLog = Awaited<ReturnType<typeof openLog>>;

/** Events of two tenants by turns. */
export const event = (n: number, change: Partial<AuditEvent> = {}): AuditEvent => ({
  operation: 'key_acquire',
  tenantId: n % 2 === 0 ? 'acme' : 'bolt',
  requestId: `${n}`,
  ...change,
});

/** Records `count` events, in batches as the journal makes them. */
export async function write({ journal }: OpenLog, count: number, from = 0): Promise<void> {
  const all = Array.from({ length: count }, (_, i) => journal.submit({ event: event(from + i) }));
  await Promise.all(all);
}

/** The same store at another moment, as a copy of its folder would be. */
export function copyOf(store: MemoryStore): MemoryStore {
  const copy = new MemoryStore();
  copy.id.set(store.id);
  for (const [name, stored] of store.records) copy.records.set(name, stored);
  return copy;
}
