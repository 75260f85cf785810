import { toHex } from '#core/bytes.js';
import { readTenant, type Tenant, tenantMap } from '#server/host/callers/tenant.js';
import type { Database, Write } from '#server/host/level.js';
import type { CreateRequestRecord, Cvm } from '../lifecycle/cvm.js';
import {
  createRequestMap,
  cvmMap,
  openRecord,
  readCreateRequest,
  readCvm,
  sealRecord,
} from './records.js';

/** Name of the platform's database in its marker. */
export const storeKind = 'cvmp platform 1';

/** What one durable write changes; all of it or nothing. */
export interface Change {
  readonly cvms?: readonly Cvm[];
  readonly removedCvms?: readonly Cvm[];
  readonly requests?: readonly CreateRequestRecord[];
  readonly removedRequests?: readonly CreateRequestRecord[];
  readonly tenants?: readonly Tenant[];
}

/** Everything that the platform remembers. */
export interface Everything {
  readonly cvms: readonly Cvm[];
  readonly requests: readonly CreateRequestRecord[];
  readonly tenants: readonly Tenant[];
}

/**
 * The platform's journal: state is kept in memory by its users and read here once, at the start;
 * every change is durable before anybody acts on it.
 */
export interface Store {
  /** @throws CvmpError STORE_CORRUPT */
  load(): Promise<Everything>;
  /** Answers when the change is durable. @throws CvmpError STORE_WRITE, SHUTTING_DOWN */
  commit(change: Change): Promise<void>;
}

const cvmKey = (cvm: Cvm) => `cvm!${cvm.cvmId}`;
const requestKey = (r: CreateRequestRecord) => `request!${r.tenantId}!${toHex(r.requestId)}`;
const tenantKey = (tenant: Tenant) => `tenant!${tenant.tenantId}`;

/** The store on LevelDB. */
export function levelStore(database: Database): Store {
  async function all<T>(prefix: string, read: Parameters<typeof openRecord<T>>[2]): Promise<T[]> {
    const entries = await database.list({ prefix });
    return entries.map(([key, stored]) => openRecord(key, stored, read));
  }

  const put = (key: string, content: Parameters<typeof sealRecord>[1]): Write => ({
    key,
    value: sealRecord(key, content),
  });

  return {
    async load() {
      return {
        cvms: await all('cvm!', readCvm),
        requests: await all('request!', readCreateRequest),
        tenants: await all('tenant!', readTenant),
      };
    },
    async commit(change) {
      await database.write([
        ...(change.cvms ?? []).map((cvm) => put(cvmKey(cvm), cvmMap(cvm))),
        ...(change.removedCvms ?? []).map((cvm) => ({ key: cvmKey(cvm) })),
        ...(change.requests ?? []).map((r) => put(requestKey(r), createRequestMap(r))),
        ...(change.removedRequests ?? []).map((r) => ({ key: requestKey(r) })),
        ...(change.tenants ?? []).map((tenant) => put(tenantKey(tenant), tenantMap(tenant))),
      ]);
    },
  };
}
