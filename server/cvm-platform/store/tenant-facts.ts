import type { TenantFacts } from '#server/host/callers/tenants.js';

/** What the CVM Platform knows of its tenants. */
export function tenantFacts(
  cvms: () => readonly { readonly tenantId: string }[],
  cvmsPerTenantMax: number,
): TenantFacts {
  return {
    usage: async ({ tenantId, limits }) => [
      {
        resource: 'cvms',
        used: cvms().filter((cvm) => cvm.tenantId === tenantId).length,
        limit: limits.cvmsMax ?? cvmsPerTenantMax,
      },
    ],
    // No secret hangs on a tenant's key here: CVMs carry the anchor that they were launched with.
    demandReplaceable: async () => {},
  };
}
