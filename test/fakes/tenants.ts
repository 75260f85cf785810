import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { makeTenant, type Tenant } from '#server/host/callers/tenant.js';
import {
  noTenant,
  type TenantChange,
  type TenantFacts,
  type TenantRegistry,
} from '#server/host/callers/tenants.js';
import { decodePageToken, type Page, type PageRequest, pageOf } from '#server/host/paging.js';

/** A registry that forgets when the test ends. */
export class MemoryTenants implements TenantRegistry {
  readonly tenants = new Map<string, Tenant>();

  async register(tenantId: string, signingKey: Uint8Array): Promise<Tenant> {
    const tenant = makeTenant(tenantId, signingKey, 0);
    const there = this.tenants.get(tenantId);
    if (there !== undefined && !equalBytes(there.thumbprint, tenant.thumbprint)) {
      throw new CvmpError('ALREADY_EXISTS', `${tenantId} has another key`);
    }
    this.tenants.set(tenantId, there ?? tenant);
    return there ?? tenant;
  }

  async change(
    tenantId: string,
    _what: TenantChange,
    next: (tenant: Tenant) => Tenant,
  ): Promise<Tenant> {
    const known = this.tenants.get(tenantId);
    if (known === undefined) throw noTenant(tenantId);
    const tenant = next(known);
    this.tenants.set(tenantId, tenant);
    return tenant;
  }

  async get(tenantId: string): Promise<Tenant | undefined> {
    return this.tenants.get(tenantId);
  }

  async list({ pageSize, pageToken }: PageRequest): Promise<Page<Tenant>> {
    const after = decodePageToken(pageToken);
    const ids = [...this.tenants.keys()].filter((id) => after === undefined || id > after).sort();
    const read = ids.slice(0, pageSize + 1).map((id) => this.tenants.get(id)!);
    return pageOf(read, pageSize, (tenant) => tenant.tenantId);
  }
}

/** Facts of a server that counts nothing. */
export const noFacts: TenantFacts = { usage: async () => [], demandReplaceable: async () => {} };
