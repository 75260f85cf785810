import { CvmpError } from '#core/errors.js';
import type { TenantFacts } from '#server/host/callers/tenants.js';
import type { NoticeBoard } from '../notices.js';
import type { Policies } from '../release/contract.js';
import { policiesMax } from '../release/tenant-policies.js';

/** What the Key Server knows of its tenants. */
export function tenantFacts(state: {
  readonly policies: Pick<Policies, 'list'>;
  readonly notices: NoticeBoard;
}): TenantFacts {
  const policiesOf = async (tenantId: string) =>
    (await state.policies.list(tenantId, { pageSize: policiesMax, pageToken: '' })).items;
  return {
    async usage({ tenantId }) {
      const policies = await policiesOf(tenantId);
      return [{ resource: 'policies', used: policies.length, limit: policiesMax }];
    },
    /** Whoever could replace the key of its policies could set the next versions of them. */
    async demandReplaceable({ tenantId }) {
      if ((await policiesOf(tenantId)).length === 0) return;
      throw new CvmpError('KEY_IN_USE', `policies of ${tenantId} are signed by its key`);
    },
  };
}
