import { equalBytes, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import * as rules from '#core/keying/tenant-rules.js';
import { crypto } from '#crypto';
import type { TenantRegistry } from '#server/host/callers/tenants.js';
import {
  type DestructionOrder,
  peekDestructionOrder,
  readDestructionOrder,
} from '#wire/key-orders.js';
import {
  type AuditEvent,
  actorOf,
  type CallContext,
  type KeyInfo,
  type StoredPolicy,
} from '../release/contract.js';
import { keyPlace } from '../release/key-directory.js';
import type { KeyTools } from '../release/keys.js';
import { agendaPut } from './agenda.js';
import type { KeyChanges } from './key-changes.js';

interface Parts {
  readonly tools: KeyTools;
  readonly tenants: Pick<TenantRegistry, 'get'>;
  readonly changes: KeyChanges;
}

/**
 * An order to destroy a key, held to the quorum and the delay of its policy in force.
 * @throws CvmpError NOT_FOUND, QUORUM, SIGNATURE_INVALID, MALFORMED, INVALID_FIELD, CAS_MISMATCH, KEY_*
 */
export async function acceptOrder(
  { tools, tenants, changes }: Parts,
  tenantId: string,
  signed: Uint8Array,
  call: CallContext,
): Promise<KeyInfo> {
  const keyId = peekDestructionOrder(signed);
  const event = {
    operation: 'key_order_destroy',
    tenantId,
    keyId,
    requestId: call.requestId,
    actor: actorOf(call),
    requestDigest: crypto.hash('sha256', signed),
  } as const;
  const { order, policy } = await recorded(tools, event, async () => {
    const inForce = await policyOf(tools, tenantId, keyId);
    return { order: await openOrder(tenants, tenantId, signed, inForce), policy: inForce };
  });
  const { requestDigest: orderDigest } = event;
  const change = {
    ...event,
    orderDigest,
    request: { id: order.requestId, fields: [toHex(orderDigest)] },
    expectedRevision: order.expectedRevision,
  };
  return changes.apply(change, (record, { now, policies }) => {
    const current = policies.current.get(record.policyId);
    // Another quorum may be in force since the signatures were looked at.
    if (current === undefined || !equalBytes(current.digest, policy.digest)) {
      throw new CvmpError('CAS_MISMATCH', `policy ${record.policyId} was changed meanwhile`);
    }
    const delayed = now + policy.policy.destroyDelaySeconds * 1000;
    const due = Math.max(delayed, order.notBefore);
    const next = rules.orderDestruction(record, { requested: now, due, orderDigest }, now);
    return { next, puts: [agendaPut({ tenantId, key: toHex(keyId), due })] };
  });
}

/** What is refused before anything is decided is recorded too. */
async function recorded<T>(
  { journal }: KeyTools,
  event: AuditEvent,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CvmpError && error !== journal.failure) {
      await journal.submit({ event: { ...event, code: error.code } });
    }
    throw error;
  }
}

async function policyOf(
  { policies, keyring, records }: KeyTools,
  tenantId: string,
  keyId: Uint8Array,
): Promise<StoredPolicy> {
  const { current } = await policies.of(tenantId);
  const keys = await keyring.of(tenantId);
  const held = await records.read(keyPlace(tenantId, keyId), keys.records);
  const policy = held && current.get(held.value.policyId);
  if (policy === undefined) {
    throw new CvmpError('NOT_FOUND', 'there is no such key', { field: 'order.key_id' });
  }
  return policy;
}

async function openOrder(
  tenants: Pick<TenantRegistry, 'get'>,
  tenantId: string,
  signed: Uint8Array,
  { policy }: StoredPolicy,
): Promise<DestructionOrder> {
  const tenant = await tenants.get(tenantId);
  if (tenant === undefined) throw new CvmpError('NOT_FOUND', 'there is no such tenant');
  const alone = { signers: [tenant.publicKey], threshold: 1 };
  const order = await readDestructionOrder(signed, policy.quorums.destroyKey ?? alone);
  if (order.tenantId !== tenantId) {
    const what = `the order is of tenant ${order.tenantId}`;
    throw new CvmpError('INVALID_FIELD', what, { field: 'order.tenant_id' });
  }
  return order;
}
