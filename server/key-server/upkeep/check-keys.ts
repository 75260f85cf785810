import { toHex } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { decodeKeyRecord } from '#core/keying/key-record.js';
import { effectiveFloor } from '#core/keying/rules.js';
import { agendaDelete } from '../lifecycle/agenda.js';
import { keyCountsCodec } from '../release/key-counts.js';
import { keyPlace } from '../release/key-directory.js';
import type { Entry } from '../store/store.js';
import type { StoreAtRest } from './open.js';
import type { Tally } from './tally.js';

const parts = (key: string) => key.split('/');

/** The tenant is registered, its KEK opens. */
export async function checkTenant({ key }: Entry, { state, keyring }: StoreAtRest): Promise<void> {
  const [, tenantId = ''] = parts(key);
  await state.tenants.get(tenantId);
  await keyring.of(tenantId);
}

/** Opens; binds to its tenant, its policy, the vault and the agenda. */
export async function checkKey(entry: Entry, opened: StoreAtRest, tally: Tally): Promise<void> {
  const { state, keyring, store } = opened;
  const [, tenantId = '', id = ''] = parts(entry.key);
  const keys = await keyring.of(tenantId);
  const record = decodeKeyRecord(keys.records.open(entry.key, entry));
  const { keyId, policyId, destruction } = record;
  if (record.tenantId !== tenantId || toHex(keyId) !== id) {
    tally.problem(entry.key, `is the record of ${record.tenantId}/${toHex(keyId)}`);
  }
  const isDestroyed = record.state === 'destroyed';
  if (isDestroyed === record.roots.length > 0) {
    tally.problem(entry.key, `is ${record.state} and has ${record.roots.length} root keys`);
  }
  for (const { epoch, wrapped } of record.roots) {
    keys.unwrapRootKey(wrapped, { tenantId, keyId, epoch });
  }
  if (record.state === 'destroy-pending' && destruction !== undefined) {
    const { due } = destruction;
    const task = agendaDelete({ tenantId, key: id, due });
    if ((await store.get(task.key)) === undefined) {
      tally.problem(entry.key, 'is to be destroyed, and not on the agenda');
    }
  }
  if (isDestroyed) return;
  const { policy } = await state.policies.get(tenantId, policyId, 0);
  tally.count(`${tenantId}/${policyId}`, effectiveFloor(record, policy));
}

/** What is on the agenda is a key that is there. */
export async function checkAgenda({ key }: Entry, { store }: StoreAtRest, tally: Tally) {
  const [, , tenantId = '', id = ''] = parts(key);
  const place = keyPlace(tenantId, Buffer.from(id, 'hex'));
  if ((await store.get(place)) === undefined)
    tally.problem(key, `names ${place}, which is missing`);
}

/** Every version is there and signed by the tenant; the index names versions that are there. */
export async function checkPolicy(entry: Entry, { state, keyring }: StoreAtRest): Promise<void> {
  const [kind, tenantId = '', policyId = '', version = ''] = parts(entry.key);
  if (kind === 'policy') {
    await state.policies.get(tenantId, policyId, Number.parseInt(version, 16));
    return;
  }
  decode((await keyring.of(tenantId)).records.open(entry.key, entry));
  await state.policies.list(tenantId, { pageSize: 1, pageToken: '' });
}

/** Counts are those of the keys, which came before. */
export async function checkCounts(entry: Entry, { keyring }: StoreAtRest, tally: Tally) {
  const [, tenantId = '', policyId = ''] = parts(entry.key);
  const { records } = await keyring.of(tenantId);
  const counts = keyCountsCodec.decode(records.open(entry.key, entry));
  const owner = `${tenantId}/${policyId}`;
  const found = tally.keys.get(owner) ?? [];
  tally.keys.delete(owner);
  const i = counts.findIndex((count, at) => count !== (found[at] ?? 0));
  if (i >= 0) {
    tally.problem(
      entry.key,
      `says ${counts[i]} keys of floor ${i + 1}; ${found[i] ?? 0} are there`,
    );
  }
}

export function unmatchedCounts(tally: Tally): void {
  for (const owner of tally.keys.keys()) {
    tally.problem(`policy-keys/${owner}`, 'is missing: there are keys of this policy');
  }
}
