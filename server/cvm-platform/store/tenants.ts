import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { makeTenant, type Tenant } from '#server/host/callers/tenant.js';
import { noTenant, type TenantChange, type TenantRegistry } from '#server/host/callers/tenants.js';
import { decodePageToken, type Page, type PageRequest, pageOf } from '#server/host/paging.js';
import type { Store } from './store.js';

/** The tenants of this platform: in memory for every call's token, durable before they count. */
export class PlatformTenants implements TenantRegistry {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #tenants = new Map<string, Tenant>();
  /** Changes wait for each other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: Store, tenants: readonly Tenant[], now: () => number) {
    this.#store = store;
    this.#now = now;
    for (const tenant of tenants) this.#tenants.set(tenant.tenantId, tenant);
  }

  register(tenantId: string, signingKey: Uint8Array): Promise<Tenant> {
    return this.#inTurn(async () => {
      const tenant = makeTenant(tenantId, signingKey, this.#now());
      const known = this.#tenants.get(tenantId);
      if (known !== undefined) {
        if (equalBytes(known.thumbprint, tenant.thumbprint)) return known;
        throw new CvmpError('ALREADY_EXISTS', `${tenantId} is registered with another key`);
      }
      await this.#store.commit({ tenants: [tenant] });
      this.#tenants.set(tenantId, tenant);
      return tenant;
    });
  }

  change(tenantId: string, _what: TenantChange, next: (tenant: Tenant) => Tenant): Promise<Tenant> {
    return this.#inTurn(async () => {
      const known = this.#tenants.get(tenantId);
      if (known === undefined) throw noTenant(tenantId);
      const tenant = next(known);
      await this.#store.commit({ tenants: [tenant] });
      this.#tenants.set(tenantId, tenant);
      return tenant;
    });
  }

  #inTurn(work: () => Promise<Tenant>): Promise<Tenant> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  peek(tenantId: string): Tenant | undefined {
    return this.#tenants.get(tenantId);
  }

  async get(tenantId: string): Promise<Tenant | undefined> {
    return this.#tenants.get(tenantId);
  }

  async list({ pageSize, pageToken }: PageRequest): Promise<Page<Tenant>> {
    const after = decodePageToken(pageToken) ?? '';
    const ids = [...this.#tenants.keys()].filter((id) => id > after).sort();
    const items = ids.slice(0, pageSize + 1).flatMap((id) => this.#tenants.get(id) ?? []);
    return pageOf(items, pageSize, (tenant) => tenant.tenantId);
  }
}
