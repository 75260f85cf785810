import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { Change, Everything, Store } from '../store/store.js';
import type { CreateRequestRecord, Cvm } from './cvm.js';

/** A CVM that is new, changed or (`gone`) deleted. */
export interface CvmChange {
  readonly cvm: Cvm;
  readonly gone: boolean;
}

const requestKey = (tenantId: string, requestId: Uint8Array) => `${tenantId}!${toHex(requestId)}`;

/** A CVM is there for its tenant once its creation is finished. */
export const isVisible = (cvm: Cvm) => cvm.pending?.operation !== 'create';

/** What the platform knows of CVMs: in memory for reading, durable before it changes. */
export class Registry {
  readonly #store: Store;
  readonly #cvms = new Map<string, Cvm>();
  readonly #requests = new Map<string, CreateRequestRecord>();
  readonly #listeners = new Set<(change: CvmChange) => void>();

  constructor(store: Store, everything: Everything) {
    this.#store = store;
    for (const cvm of everything.cvms) this.#cvms.set(cvm.cvmId, cvm);
    // Oldest first, so that what expires is found at the front.
    const requests = [...everything.requests].sort((a, b) => a.createdMs - b.createdMs);
    for (const r of requests) this.#requests.set(requestKey(r.tenantId, r.requestId), r);
  }

  /** All CVMs, also those that are being created. */
  all(): readonly Cvm[] {
    return [...this.#cvms.values()];
  }

  get(cvmId: string): Cvm | undefined {
    return this.#cvms.get(cvmId);
  }

  /** The tenant's CVMs in the order of their names. */
  ofTenant(tenantId: string): readonly Cvm[] {
    return this.all()
      .filter((cvm) => cvm.tenantId === tenantId && isVisible(cvm))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * One of the tenant's CVMs by its id, or else by its name. Another tenant's is as unknown as one
   * that never was.
   * @throws CvmpError NOT_FOUND
   */
  find(tenantId: string, idOrName: string): Cvm {
    const own = this.ofTenant(tenantId);
    const cvm = own.find((c) => c.cvmId === idOrName) ?? own.find((c) => c.name === idOrName);
    if (cvm === undefined) {
      throw new CvmpError('NOT_FOUND', `no CVM ${idOrName}`, { field: 'cvm' });
    }
    return cvm;
  }

  request(tenantId: string, requestId: Uint8Array): CreateRequestRecord | undefined {
    return this.#requests.get(requestKey(tenantId, requestId));
  }

  /** Oldest first. */
  requests(): Iterable<CreateRequestRecord> {
    return this.#requests.values();
  }

  /**
   * Takes the places of new CVMs and their request before they are durable, so that nobody else
   * takes them meanwhile. Where the write fails they are free again.
   */
  async add(
    cvms: readonly Cvm[],
    request: CreateRequestRecord,
    expired: readonly CreateRequestRecord[],
  ) {
    for (const cvm of cvms) this.#cvms.set(cvm.cvmId, cvm);
    try {
      await this.#store.commit({ cvms, requests: [request], removedRequests: expired });
    } catch (error) {
      for (const cvm of cvms) this.#cvms.delete(cvm.cvmId);
      throw error;
    }
    this.#requests.set(requestKey(request.tenantId, request.requestId), request);
    for (const r of expired) this.#requests.delete(requestKey(r.tenantId, r.requestId));
  }

  /** Makes a change durable, then visible. @throws CvmpError STORE_WRITE, SHUTTING_DOWN */
  async commit(change: Omit<Change, 'requests' | 'tenants'>): Promise<void> {
    await this.#store.commit(change);
    for (const r of change.removedRequests ?? []) {
      this.#requests.delete(requestKey(r.tenantId, r.requestId));
    }
    for (const cvm of change.removedCvms ?? []) this.#cvms.delete(cvm.cvmId);
    for (const cvm of change.cvms ?? []) this.#cvms.set(cvm.cvmId, cvm);
    for (const cvm of change.removedCvms ?? []) this.#tell({ cvm, gone: true });
    for (const cvm of change.cvms ?? []) this.#tell({ cvm, gone: false });
  }

  /** @returns a function that ends it */
  onChange(listener: (change: CvmChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(change: CvmChange): void {
    if (!isVisible(change.cvm)) return;
    for (const listener of this.#listeners) listener(change);
  }
}
