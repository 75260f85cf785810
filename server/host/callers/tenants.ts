import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { decodeCoseKey, type EcPublicKey, encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { type BoundService, bindService } from '../handlers.js';
import { type Page, type PageRequest, pageRequest } from '../paging.js';

/** A registered tenant. */
export interface Tenant {
  readonly tenantId: string;
  /** COSE_Key as registered. */
  readonly signingKey: Uint8Array;
  /** The same, decoded; keep the value, its import is cached by identity. */
  readonly publicKey: EcPublicKey;
  /** COSE Key Thumbprint with SHA-256 (RFC 9679), 32 bytes. */
  readonly thumbprint: Uint8Array;
  /** Milliseconds since the epoch. */
  readonly registered: number;
}

/** Where a server keeps its tenants. */
export interface TenantRegistry {
  /**
   * Stores a new tenant durably before it resolves. Repeated with the same key it changes nothing.
   * @throws CvmpError ALREADY_EXISTS (with another key), MALFORMED, UNSUPPORTED_ALGORITHM
   */
  register(
    tenantId: string,
    signingKey: Uint8Array,
    call: { readonly requestId: string },
  ): Promise<Tenant>;
  /** undefined where it is not registered. */
  get(tenantId: string): Promise<Tenant | undefined>;
  /** In the order of their ids. */
  list(page: PageRequest): Promise<Page<Tenant>>;
}

/** Issuer name of operators' tokens, so no tenant's name. */
const reserved = 'operator';

/**
 * A tenant from what a registry stores of it.
 * @param signingKey COSE_Key of a public key on P-256 or P-384
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNSUPPORTED_ALGORITHM
 */
export function makeTenant(tenantId: string, signingKey: Uint8Array, registered: number): Tenant {
  const publicKey = decodeCoseKey(signingKey, 'tenant.signing_key');
  return { tenantId, signingKey, publicKey, thumbprint: thumbprint(publicKey), registered };
}

/** TenantService over any registry; who may call it says the table of access. */
export function tenantService(registry: TenantRegistry): BoundService {
  return bindService(TenantService, {
    async registerTenant({ tenant }, { requestId }) {
      const tenantId = tenant?.tenantId ?? '';
      if (tenantId === reserved) {
        const field = 'tenant.tenant_id';
        throw new CvmpError('INVALID_FIELD', `${field} is a reserved name`, { field });
      }
      const key = readSigningKey(tenant?.signingKey ?? new Uint8Array());
      const registered = await registry.register(tenantId, encodeCoseKey(key), { requestId });
      return { tenant: tenantMessage(registered) };
    },

    async listTenants(request) {
      const { items, nextPageToken } = await registry.list(pageRequest(request));
      return { tenants: items.map(tenantMessage), nextPageToken };
    },
  });
}

function readSigningKey(bytes: Uint8Array): EcPublicKey {
  const field = 'tenant.signing_key';
  try {
    return decodeCoseKey(bytes, field);
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    throw new CvmpError('INVALID_FIELD', cause.message, { cause, field });
  }
}

function tenantMessage(tenant: Tenant) {
  return {
    tenantId: tenant.tenantId,
    signingKey: tenant.signingKey,
    thumbprint: tenant.thumbprint,
    registered: timestampFromMs(tenant.registered),
  };
}
