import { CvmpError } from '#core/errors.js';
import type { Tenant, TenantLimits } from '#server/host/callers/tenant.js';
import type { ConfigReader } from '#server/host/config/reader.js';

/** What a tenant may have, unless an operator set another limit for it. */
export interface QuotaSettings {
  readonly keysPerTenantMax: number;
  readonly policiesPerTenantMax: number;
  /** Of signed policies, all versions. */
  readonly storedBytesPerTenantMax: number;
  readonly sessionsPerTenantMax: number;
}

/** Policies that one tenant may have at all: they are held in memory. */
export const policiesMax = 256;

export const defaultQuotas: QuotaSettings = {
  keysPerTenantMax: 1_000_000,
  policiesPerTenantMax: policiesMax,
  storedBytesPerTenantMax: 64 * 1024 * 1024,
  sessionsPerTenantMax: 10_000,
};

/** @throws CvmpError CONFIG */
export function readQuotas(quotas: ConfigReader): QuotaSettings {
  const number = (key: string, max: number, standard: number, why: string) =>
    quotas.integer(key, { min: 1, max, default: standard, why });
  const { keysPerTenantMax, policiesPerTenantMax, storedBytesPerTenantMax, sessionsPerTenantMax } =
    defaultQuotas;
  return {
    keysPerTenantMax: number(
      'keys_per_tenant_max',
      100_000_000,
      keysPerTenantMax,
      'some 500 MB of store; destroyed ones are not counted',
    ),
    policiesPerTenantMax: number(
      'policies_per_tenant_max',
      policiesMax,
      policiesPerTenantMax,
      'all that are in force are held in memory',
    ),
    storedBytesPerTenantMax: number(
      'stored_bytes_per_tenant_max',
      2 ** 40,
      storedBytesPerTenantMax,
      'versions are kept for ever; 64 MiB are thousands of them',
    ),
    sessionsPerTenantMax: number(
      'sessions_per_tenant_max',
      1_000_000,
      sessionsPerTenantMax,
      'all that session.sessions_max admits; set it lower where tenants are many',
    ),
  };
}

/** What holds for a tenant: its own limits, else the configuration's. */
export class Quotas {
  readonly #settings: QuotaSettings;
  readonly #peek: (tenantId: string) => Pick<Tenant, 'limits'> | undefined;

  constructor(
    settings: QuotaSettings,
    /** The record of a tenant that was read lately. */
    peek: (tenantId: string) => Pick<Tenant, 'limits'> | undefined,
  ) {
    this.#settings = settings;
    this.#peek = peek;
  }

  keys(tenantId: string): number {
    return this.#limits(tenantId).keysMax ?? this.#settings.keysPerTenantMax;
  }

  policies(tenantId: string): number {
    return this.#limits(tenantId).policiesMax ?? this.#settings.policiesPerTenantMax;
  }

  storedBytes(tenantId: string): number {
    return this.#limits(tenantId).storedBytesMax ?? this.#settings.storedBytesPerTenantMax;
  }

  sessions(tenantId: string): number {
    return this.#limits(tenantId).sessionsMax ?? this.#settings.sessionsPerTenantMax;
  }

  #limits(tenantId: string): TenantLimits {
    return this.#peek(tenantId)?.limits ?? {};
  }
}

/** @throws CvmpError QUOTA where there would be more than `most` */
export function demandRoom(wanted: number, most: number, what: string): void {
  if (wanted > most) throw new CvmpError('QUOTA', `the tenant may have ${most} ${what}`);
}
