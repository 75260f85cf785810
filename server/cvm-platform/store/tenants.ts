import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { makeTenant, type Tenant, type TenantRegistry } from '#server/host/callers/tenants.js';
import { decodePageToken, type Page, type PageRequest, pageOf } from '#server/host/paging.js';
import type { Store, TenantRecord } from './store.js';

/** The tenants of this platform: in memory for every call's token, durable before they count. */
export class PlatformTenants implements TenantRegistry {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #tenants = new Map<string, Tenant>();
  /** Registrations of one name wait for each other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: Store, tenants: readonly TenantRecord[], now: () => number) {
    this.#store = store;
    this.#now = now;
    for (const { tenantId, signingKey, registered } of tenants) {
      this.#tenants.set(tenantId, makeTenant(tenantId, signingKey, registered));
    }
  }

  register(tenantId: string, signingKey: Uint8Array): Promise<Tenant> {
    const result = this.#last.then(async () => {
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
    this.#last = result.catch(() => undefined);
    return result;
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
