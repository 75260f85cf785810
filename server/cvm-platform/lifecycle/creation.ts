import { equalBytes, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { CreateRequestRecord, Cvm, Launch } from './cvm.js';
import type { Operations } from './operations.js';
import type { Registry } from './registry.js';

/** What is asked for, once everything about it was granted. */
export interface NewCvms {
  readonly tenantId: string;
  /** 16 bytes, chosen by the tenant. */
  readonly requestId: Uint8Array;
  /** SHA-256 of the request's content. */
  readonly digest: Uint8Array;
  readonly name: string;
  /** 1 or more; above 1, `-1`, `-2` ... are appended to the name. */
  readonly count: number;
  /** Looks at the offer, images and host; called only where the request is new. */
  readonly plan: () => Promise<Launch>;
}

export interface CreationLimits {
  /** CVMs that this platform can hold. */
  readonly cvmsMax: number;
  readonly cvmsPerTenantMax: number;
  /** How long a request is remembered after its CVMs are gone, ms. */
  readonly requestTtlMs: number;
  /** Requests that are remembered for one tenant. */
  readonly requestsPerTenantMax: number;
}

export interface CreationOptions {
  readonly registry: Registry;
  readonly operations: Operations;
  readonly undefine: (cvmId: string) => Promise<void>;
  readonly limits: CreationLimits;
  /** What an operator set for a tenant in the place of cvmsPerTenantMax. */
  readonly cvmsMaxOf?: (tenantId: string) => number | undefined;
  readonly now: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
}

/**
 * Creates CVMs, all that one request asks for or none. The request is journalled with them, so that
 * its repetition finds them, now or after a crash.
 */
export class Creation {
  readonly #options: CreationOptions;
  readonly #running = new Map<string, { digest: Uint8Array; cvms: Promise<readonly Cvm[]> }>();

  constructor(options: CreationOptions) {
    this.#options = options;
  }

  /**
   * @throws CvmpError IDEMPOTENCY_MISMATCH, ALREADY_EXISTS, QUOTA, NOT_FOUND where the request's
   *   CVMs were deleted since, STORE_WRITE, and what planning and host refuse with
   */
  async create(wanted: NewCvms): Promise<readonly Cvm[]> {
    const key = `${wanted.tenantId}!${toHex(wanted.requestId)}`;
    const running = this.#running.get(key);
    if (running !== undefined) {
      demandSame(running.digest, wanted.digest);
      return running.cvms;
    }
    const cvms = this.#create(wanted).finally(() => this.#running.delete(key));
    this.#running.set(key, { digest: wanted.digest, cvms });
    return cvms;
  }

  /**
   * Finishes what a journalled request began.
   * @throws what the host refuses with, after everything was undone
   */
  async finish(request: CreateRequestRecord): Promise<readonly Cvm[]> {
    const { registry, operations } = this.#options;
    const begun = this.#cvmsOf(request).filter((cvm) => cvm.pending?.operation === 'create');
    if (begun.length === 0) return this.#cvmsOf(request);
    try {
      for (const cvm of begun) await operations.define(cvm.cvmId, cvm.launch.spec);
    } catch (error) {
      await this.#undo(request, begun);
      throw error;
    }
    await registry.commit({ cvms: begun.map(({ pending, ...cvm }) => cvm) });
    return this.#cvmsOf(request);
  }

  async #create(wanted: NewCvms): Promise<readonly Cvm[]> {
    const { registry } = this.#options;
    const known = registry.request(wanted.tenantId, wanted.requestId);
    if (known !== undefined) {
      demandSame(known.digest, wanted.digest);
      const cvms = await this.finish(known);
      if (cvms.length === known.cvmIds.length) return cvms;
      throw new CvmpError('NOT_FOUND', 'what this request created was deleted since');
    }
    const launch = await wanted.plan();
    const request = await this.#journal(wanted, launch);
    return this.finish(request);
  }

  /** Names, quotas and places are looked at and taken in one step. */
  #journal(wanted: NewCvms, launch: Launch): Promise<CreateRequestRecord> {
    const { registry, now } = this.#options;
    const { tenantId, requestId, digest } = wanted;
    const names = this.#names(wanted);
    const createdMs = now();
    const cvms = names.map(
      (name): Cvm => ({
        cvmId: this.#newId(),
        tenantId,
        name,
        state: 'defined',
        message: '',
        launch,
        requestId,
        createdMs,
        bootCount: 0,
        pending: { operation: 'create', force: false },
      }),
    );
    const cvmIds = cvms.map((cvm) => cvm.cvmId);
    const request = { tenantId, requestId, digest, cvmIds, createdMs };
    return registry.add(cvms, request, this.#expired(tenantId)).then(() => request);
  }

  /** @throws CvmpError ALREADY_EXISTS, QUOTA */
  #names(wanted: NewCvms): string[] {
    const { name, count, tenantId } = wanted;
    const { cvmsMax, cvmsPerTenantMax } = this.#options.limits;
    const ownMax = this.#options.cvmsMaxOf?.(tenantId) ?? cvmsPerTenantMax;
    const all = this.#options.registry.all();
    const own = all.filter((cvm) => cvm.tenantId === tenantId);
    if (all.length + count > cvmsMax) throw new CvmpError('QUOTA', 'this platform is full');
    if (own.length + count > ownMax) {
      throw new CvmpError('QUOTA', `the tenant may have ${ownMax} CVMs`);
    }
    const names =
      count === 1 ? [name] : Array.from({ length: count }, (_, i) => `${name}-${i + 1}`);
    const taken = own.find((cvm) => names.includes(cvm.name));
    if (taken !== undefined) {
      throw new CvmpError('ALREADY_EXISTS', `there is a CVM ${taken.name}`, { field: 'name' });
    }
    return names;
  }

  /** Requests that need not be remembered any more. @throws CvmpError QUOTA */
  #expired(tenantId: string): CreateRequestRecord[] {
    const { registry, limits, now } = this.#options;
    const expired: CreateRequestRecord[] = [];
    let own = 0;
    for (const request of registry.requests()) {
      const old = request.createdMs + limits.requestTtlMs < now();
      if (old && this.#cvmsOf(request).length === 0) expired.push(request);
      else if (request.tenantId === tenantId) own++;
    }
    if (own >= limits.requestsPerTenantMax) {
      throw new CvmpError('QUOTA', `${own} requests of this tenant are still remembered`);
    }
    return expired;
  }

  async #undo(request: CreateRequestRecord, begun: readonly Cvm[]): Promise<void> {
    for (const cvm of begun) await this.#options.undefine(cvm.cvmId);
    await this.#options.registry.commit({ removedCvms: begun, removedRequests: [request] });
  }

  #cvmsOf(request: CreateRequestRecord): Cvm[] {
    return request.cvmIds.flatMap((id) => this.#options.registry.get(id) ?? []);
  }

  #newId(): string {
    return `cvm-${toHex(this.#options.randomBytes(8))}`;
  }
}

function demandSame(known: Uint8Array, given: Uint8Array): void {
  if (equalBytes(known, given)) return;
  const message = 'the request id was used with another content';
  throw new CvmpError('IDEMPOTENCY_MISMATCH', message, { field: 'request_id' });
}
