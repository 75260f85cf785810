import { toHex } from '#core/bytes.js';
import type { CreateRequestRecord, Cvm } from '#server/cvm-platform/lifecycle/cvm.js';
import type { Change, Everything, Store } from '#server/cvm-platform/store/store.js';
import type { Tenant } from '#server/host/callers/tenant.js';

/** A journal in memory; what was committed survives the platform that committed it. */
export class MemoryStore implements Store {
  readonly #cvms = new Map<string, Cvm>();
  readonly #requests = new Map<string, CreateRequestRecord>();
  readonly #tenants = new Map<string, Tenant>();
  /** Called before a change counts and after it does; what it throws fails the commit. */
  hook: (moment: 'before' | 'after') => void = () => {};

  async load(): Promise<Everything> {
    return {
      cvms: [...this.#cvms.values()],
      requests: [...this.#requests.values()],
      tenants: [...this.#tenants.values()],
    };
  }

  async commit(change: Change): Promise<void> {
    this.hook('before');
    const key = (r: CreateRequestRecord) => `${r.tenantId}!${toHex(r.requestId)}`;
    for (const cvm of change.cvms ?? []) this.#cvms.set(cvm.cvmId, cvm);
    for (const cvm of change.removedCvms ?? []) this.#cvms.delete(cvm.cvmId);
    for (const request of change.requests ?? []) this.#requests.set(key(request), request);
    for (const request of change.removedRequests ?? []) this.#requests.delete(key(request));
    for (const tenant of change.tenants ?? []) this.#tenants.set(tenant.tenantId, tenant);
    this.hook('after');
  }
}
