import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from '#core/bytes.js';
import { decodeCoseKey, type EcPublicKey, encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { type BoundService, bindService } from '../handlers.js';

/** A registered tenant. */
export interface TenantRecord {
  readonly tenantId: string;
  /** COSE_Key with its required members only, deterministic CBOR. */
  readonly signingKey: Uint8Array;
  /** COSE Key Thumbprint with SHA-256, 32 bytes. */
  readonly thumbprint: Uint8Array;
  /** Milliseconds since the epoch. */
  readonly registeredMs: number;
}

/** Where a server keeps its tenants. */
export interface TenantRegistry {
  /**
   * Stores a new tenant durably before it resolves.
   * @returns what is stored: the record given, or the one that was there with the same key
   * @throws CvmpError ALREADY_EXISTS where the tenant has another key
   */
  register(record: TenantRecord): Promise<TenantRecord>;
  get(tenantId: string): Promise<TenantRecord | undefined>;
  /** In the order of ids, from the first one after `after`. */
  list(after: string | undefined, limit: number): Promise<readonly TenantRecord[]>;
}

const pageSizeDefault = 100;
/** Issuer name of operators' tokens. */
const reserved = 'operator';

/** TenantService over any registry; who may call it says the table of access. */
export function tenantService(registry: TenantRegistry, now: () => number): BoundService {
  return bindService(TenantService, {
    async registerTenant({ tenant }) {
      const tenantId = tenant?.tenantId ?? '';
      const field = 'tenant.tenant_id';
      if (tenantId === reserved) {
        throw new CvmpError('INVALID_FIELD', `${field} is a reserved name`, { field });
      }
      const key = signingKey(tenant?.signingKey ?? new Uint8Array());
      const record = await registry.register({
        tenantId,
        signingKey: encodeCoseKey(key),
        thumbprint: thumbprint(key),
        registeredMs: now(),
      });
      return { tenant: tenantMessage(record) };
    },

    async listTenants(request) {
      const limit = request.pageSize === 0 ? pageSizeDefault : request.pageSize;
      const after = pageToken(request.pageToken);
      const records = await registry.list(after, limit + 1);
      const page = records.slice(0, limit);
      return {
        tenants: page.map(tenantMessage),
        nextPageToken: records.length > limit ? nextPageToken(page.at(-1)?.tenantId ?? '') : '',
      };
    },
  });
}

/** The key that a tenant's tokens and policies are verified under; decoded once per registration. */
export function tenantKeys(
  registry: TenantRegistry,
): (tenantId: string) => Promise<EcPublicKey | undefined> {
  const decoded = new WeakMap<TenantRecord, EcPublicKey>();
  return async (tenantId) => {
    const record = await registry.get(tenantId);
    if (record === undefined) return undefined;
    let key = decoded.get(record);
    if (key === undefined) {
      key = decodeCoseKey(record.signingKey, 'signing_key');
      decoded.set(record, key);
    }
    return key;
  };
}

/** A page token names the last item of the page before; opaque to callers. */
export function nextPageToken(last: string): string {
  return toBase64Url(utf8(last));
}

/** @throws CvmpError INVALID_FIELD */
export function pageToken(token: string): string | undefined {
  if (token === '') return undefined;
  try {
    return fromUtf8(fromBase64Url(token));
  } catch (cause) {
    const field = 'page_token';
    throw new CvmpError('INVALID_FIELD', 'page_token is not one of ours', { cause, field });
  }
}

function signingKey(bytes: Uint8Array): EcPublicKey {
  const field = 'tenant.signing_key';
  try {
    return decodeCoseKey(bytes, field);
  } catch (cause) {
    if (!(cause instanceof CvmpError)) throw cause;
    throw new CvmpError('INVALID_FIELD', cause.message, { cause, field });
  }
}

function tenantMessage(record: TenantRecord) {
  return {
    tenantId: record.tenantId,
    signingKey: record.signingKey,
    thumbprint: record.thumbprint,
    registered: timestampFromMs(record.registeredMs),
  };
}
