import { equalBytes } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { decodeMap } from '#core/cbor/read.js';
import { CvmpError } from '#core/errors.js';
import { makeTenant, readTenant, type Tenant, tenantMap } from '#server/host/callers/tenant.js';
import {
  noTenant,
  type RegistryCall,
  type TenantChange,
  type TenantRegistry,
} from '#server/host/callers/tenants.js';
import { decodePageToken, type Page, type PageRequest, pageOf } from '#server/host/paging.js';
import type { Journal } from '../store/journal.js';
import type { Keyring } from '../store/keyring.js';
import type { Store } from '../store/store.js';
import { type AuditEvent, actorOf } from './contract.js';
import { deciding } from './deciding.js';
import { SealedRecords } from './records.js';

const prefix = 'tenant/';
const cacheMax = 10_000;

interface TenantTools {
  readonly store: Store;
  readonly journal: Journal<AuditEvent>;
  readonly keyring: Keyring;
  readonly now: () => number;
}

const codec = {
  encode: (tenant: Tenant) => encode(tenantMap(tenant)),
  decode: (bytes: Uint8Array) => decodeMap(bytes, 'tenant', readTenant),
};

const madeBy = (call: RegistryCall) => ({ requestId: call.requestId, actor: actorOf(call) });

/** Tenants and their public signing keys; a tenant's own KEK comes to be with it. */
export class Tenants implements TenantRegistry {
  readonly #tools: TenantTools;
  readonly #records: SealedRecords<Tenant>;
  readonly #suspended = new Set<string>();

  constructor(tools: TenantTools) {
    this.#tools = tools;
    this.#records = new SealedRecords(tools.journal, codec, cacheMax);
  }

  async register(tenantId: string, signingKey: Uint8Array, call: RegistryCall): Promise<Tenant> {
    const { keyring, journal, now } = this.#tools;
    const key = `${prefix}${tenantId}`;
    const event = { operation: 'register_tenant', tenantId, ...madeBy(call) } as const;
    return deciding(journal, event, {
      load: async () => {
        const tenant = makeTenant(tenantId, signingKey, now());
        const known = await this.#records.read(key, keyring.server);
        if (known !== undefined) return { tenant, held: known };
        // First the KEK: a tenant without one could never be read.
        await keyring.newTenant(tenantId);
        return { tenant, held: await this.#records.read(key, keyring.server) };
      },
      forget: () => this.#records.forget(key),
      decide: ({ tenant, held }) => {
        if (held === undefined) {
          const put = this.#records.put(key, 0, tenant, keyring.server);
          return {
            puts: [put],
            submitted: () => this.#records.submitted(put, tenant),
            answer: () => tenant,
          };
        }
        if (!equalBytes(held.value.thumbprint, tenant.thumbprint)) {
          throw new CvmpError('ALREADY_EXISTS', `tenant ${tenantId} has another signing key`);
        }
        return { answer: () => held.value };
      },
    });
  }

  async change(
    tenantId: string,
    what: TenantChange,
    next: (tenant: Tenant) => Tenant,
    call: RegistryCall,
  ): Promise<Tenant> {
    const { keyring, journal } = this.#tools;
    const key = `${prefix}${tenantId}`;
    const event = { operation: what, tenantId, ...madeBy(call) } as const;
    return deciding(journal, event, {
      load: () => this.#records.read(key, keyring.server),
      decide: (loaded) => {
        const held = this.#records.peek(key) ?? loaded;
        if (held === undefined) throw noTenant(tenantId);
        const tenant = next(held.value);
        const put = this.#records.put(key, held.version, tenant, keyring.server);
        return {
          puts: [put],
          submitted: () => this.#records.submitted(put, this.#notice(tenant)),
          answer: () => tenant,
        };
      },
      forget: () => this.#records.forget(key),
    });
  }

  /**
   * Known of every tenant that was read or changed since the start: of all with a session.
   * @throws CvmpError TENANT_SUSPENDED
   */
  demandServed(tenantId: string): void {
    if (!this.#suspended.has(tenantId)) return;
    throw new CvmpError('TENANT_SUSPENDED', 'the tenant is suspended');
  }

  #notice(tenant: Tenant): Tenant {
    if (tenant.suspended === undefined) this.#suspended.delete(tenant.tenantId);
    else this.#suspended.add(tenant.tenantId);
    return tenant;
  }

  /** Without waiting, where it is in memory. */
  peek(tenantId: string): Tenant | undefined {
    return this.#records.peek(`${prefix}${tenantId}`)?.value;
  }

  async get(tenantId: string): Promise<Tenant | undefined> {
    const held = await this.#records.read(`${prefix}${tenantId}`, this.#tools.keyring.server);
    return held && this.#notice(held.value);
  }

  async list({ pageSize, pageToken }: PageRequest): Promise<Page<Tenant>> {
    const token = decodePageToken(pageToken);
    const entries = await this.#tools.store.list({
      prefix,
      limit: pageSize + 1,
      ...(token === undefined ? {} : { after: `${prefix}${token}` }),
    });
    const { server } = this.#tools.keyring;
    const items = entries.map(({ key, ...stored }) => this.#records.open(key, stored, server));
    return pageOf(items, pageSize, ({ tenantId }) => tenantId);
  }
}
