import { CvmpError } from '#core/errors.js';
import type { TenantFacts } from '#server/host/callers/tenants.js';
import type { KeyServerState } from '../release/contract.js';

/** What the Key Server knows of its tenants. */
export function tenantFacts({
  policies,
  keys,
  notices,
  quotas,
}: Pick<KeyServerState, 'policies' | 'keys' | 'notices' | 'quotas'>): TenantFacts {
  return {
    async usage({ tenantId }) {
      const { count, storedBytes } = await policies.usage(tenantId);
      return [
        { resource: 'keys', used: await keys.count(tenantId), limit: quotas.keys(tenantId) },
        { resource: 'policies', used: count, limit: quotas.policies(tenantId) },
        { resource: 'stored_bytes', used: storedBytes, limit: quotas.storedBytes(tenantId) },
        { resource: 'sessions', used: notices.count(tenantId), limit: quotas.sessions(tenantId) },
      ];
    },
    /** Whoever could replace the key of its policies could set the next versions of them. */
    async demandReplaceable({ tenantId }) {
      if ((await policies.usage(tenantId)).count === 0) return;
      throw new CvmpError('KEY_IN_USE', `policies of ${tenantId} are signed by its key`);
    },
  };
}
