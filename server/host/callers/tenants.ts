import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { equalBytes } from '#core/bytes.js';
import { decodeCoseKey, type EcPublicKey, encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { type TenantLimits as LimitsMessage, TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { type BoundService, bindService, type Caller } from '../handlers.js';
import { type Page, type PageRequest, pageRequest } from '../paging.js';
import { type Tenant, type TenantLimits, withKey } from './tenant.js';

/** What was done to a tenant's record, for the audit. */
export type TenantChange =
  | 'suspend_tenant'
  | 'resume_tenant'
  | 'limit_tenant'
  | 'replace_tenant_key'
  | 'rotate_tenant_key'
  | 'revoke_delegations'
  | 'add_client_certificate'
  | 'remove_client_certificate';

/** Who changes a registry, for the audit. */
export interface RegistryCall {
  readonly requestId: string;
  readonly caller?: Caller;
}

/** Where a server keeps its tenants. */
export interface TenantRegistry {
  /**
   * Stores a new tenant durably before it resolves. Repeated with the same key it changes nothing.
   * @throws CvmpError ALREADY_EXISTS (with another key), MALFORMED, UNSUPPORTED_ALGORITHM
   */
  register(tenantId: string, signingKey: Uint8Array, call: RegistryCall): Promise<Tenant>;
  /** undefined where it is not registered. */
  get(tenantId: string): Promise<Tenant | undefined>;
  /** In the order of their ids. */
  list(page: PageRequest): Promise<Page<Tenant>>;
  /**
   * Stores what `next` makes of a tenant, durably before it resolves. `next` may be called again
   * where somebody else changed the tenant meanwhile; it throws to refuse.
   * @throws CvmpError NOT_FOUND
   */
  change(
    tenantId: string,
    what: TenantChange,
    next: (tenant: Tenant) => Tenant,
    call: RegistryCall,
  ): Promise<Tenant>;
}

/** How much of a limit a tenant uses. */
export interface TenantUsage {
  /** Field of TenantLimits without its end: "keys". */
  readonly resource: string;
  readonly used: number;
  readonly limit: number;
}

/** What a server knows of its tenants beside their registration. */
export interface TenantFacts {
  readonly usage: (tenant: Tenant) => Promise<readonly TenantUsage[]>;
  /** @throws CvmpError KEY_IN_USE where nobody but the tenant may change its key */
  readonly demandReplaceable: (tenant: Tenant) => Promise<void>;
}

/** Issuer name of operators' tokens, so no tenant's name. */
const reserved = 'operator';
/** Keys that one tenant may have had. */
export const earlierKeysMax = 32;

/** TenantService over any registry; who may call it says the table of access. */
export function tenantService(registry: TenantRegistry, facts: TenantFacts): BoundService {
  return bindService(TenantService, {
    async registerTenant({ tenant }, context) {
      const tenantId = tenant?.tenantId ?? '';
      if (tenantId === reserved) {
        const field = 'tenant.tenant_id';
        throw new CvmpError('INVALID_FIELD', `${field} is a reserved name`, { field });
      }
      const key = readSigningKey(tenant?.signingKey ?? new Uint8Array(), 'tenant.signing_key');
      const registered = await registry.register(tenantId, encodeCoseKey(key), context);
      return { tenant: tenantMessage(registered) };
    },

    async listTenants(request) {
      const { items, nextPageToken } = await registry.list(pageRequest(request));
      return { tenants: items.map(tenantMessage), nextPageToken };
    },

    async getTenant({ tenantId }) {
      const tenant = await demandTenant(registry, tenantId);
      return {
        tenant: tenantMessage(tenant),
        limits: limitsMessage(tenant.limits),
        usage: (await facts.usage(tenant)).map(usageMessage),
      };
    },

    async suspendTenant({ tenantId, reason }, context) {
      const what = reason === '' ? 'resume_tenant' : 'suspend_tenant';
      const suspended = reason === '' ? undefined : reason;
      const next = (tenant: Tenant) => ({ ...tenant, suspended });
      return { tenant: tenantMessage(await registry.change(tenantId, what, next, context)) };
    },

    async setTenantLimits({ tenantId, limits }, context) {
      const next = (tenant: Tenant) => ({ ...tenant, limits: limitsOf(limits) });
      const tenant = await registry.change(tenantId, 'limit_tenant', next, context);
      return { limits: limitsMessage(tenant.limits) };
    },

    async replaceTenantKey({ tenantId, signingKey }, context) {
      const key = readSigningKey(signingKey, 'signing_key');
      await facts.demandReplaceable(await demandTenant(registry, tenantId));
      const next = (tenant: Tenant) => withNextKey(tenant, key, new Uint8Array());
      const tenant = await registry.change(tenantId, 'replace_tenant_key', next, context);
      return { tenant: tenantMessage(tenant) };
    },
  });
}

/**
 * The tenant with its next key, which must be one that it never had: what an earlier key signed
 * must not count again.
 * @throws CvmpError ALREADY_EXISTS, QUOTA
 */
export function withNextKey(tenant: Tenant, key: EcPublicKey, rotation: Uint8Array): Tenant {
  const print = thumbprint(key);
  const had = [tenant.thumbprint, ...tenant.earlierKeys.map((earlier) => earlier.thumbprint)];
  if (had.some((one) => equalBytes(one, print))) {
    throw new CvmpError('ALREADY_EXISTS', 'the tenant has or had this key', { field: 'key' });
  }
  if (tenant.earlierKeys.length >= earlierKeysMax) {
    throw new CvmpError('QUOTA', `the tenant had its ${earlierKeysMax} keys`);
  }
  return withKey(tenant, encodeCoseKey(key), rotation);
}

async function demandTenant(registry: TenantRegistry, tenantId: string): Promise<Tenant> {
  const tenant = await registry.get(tenantId);
  if (tenant === undefined) throw noTenant(tenantId);
  return tenant;
}

/** What a registry says of a tenant that it does not have. */
export function noTenant(tenantId: string): CvmpError {
  return new CvmpError('NOT_FOUND', `tenant ${tenantId} is not registered`);
}

function readSigningKey(bytes: Uint8Array, field: string): EcPublicKey {
  try {
    return decodeCoseKey(bytes, field);
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    throw new CvmpError('INVALID_FIELD', cause.message, { cause, field });
  }
}

export function tenantMessage(tenant: Tenant) {
  return {
    tenantId: tenant.tenantId,
    signingKey: tenant.signingKey,
    thumbprint: tenant.thumbprint,
    registered: timestampFromMs(tenant.registered),
    suspended: tenant.suspended ?? '',
    earlierThumbprints: tenant.earlierKeys.map((key) => key.thumbprint),
    earlierKeys: tenant.earlierKeys.map(({ signingKey, rotation }) => ({
      signingKey,
      signedRotation: rotation,
    })),
  };
}

export function limitsMessage(limits: TenantLimits) {
  return {
    keysMax: limits.keysMax ?? 0,
    policiesMax: limits.policiesMax ?? 0,
    storedBytesMax: BigInt(limits.storedBytesMax ?? 0),
    cvmsMax: limits.cvmsMax ?? 0,
    sessionsMax: limits.sessionsMax ?? 0,
    callsPerMinuteMax: limits.callsPerMinuteMax ?? 0,
  };
}

function limitsOf(message: LimitsMessage | undefined): TenantLimits {
  return {
    keysMax: message?.keysMax || undefined,
    policiesMax: message?.policiesMax || undefined,
    storedBytesMax: Number(message?.storedBytesMax ?? 0n) || undefined,
    cvmsMax: message?.cvmsMax || undefined,
    sessionsMax: message?.sessionsMax || undefined,
    callsPerMinuteMax: message?.callsPerMinuteMax || undefined,
  };
}

export function usageMessage({ resource, used, limit }: TenantUsage) {
  return { resource, used: BigInt(used), limit: BigInt(limit) };
}
