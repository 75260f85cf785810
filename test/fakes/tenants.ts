import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { TenantRecord, TenantRegistry } from '#server/host/callers/tenants.js';

/** A registry that forgets when the test ends. */
export class MemoryTenants implements TenantRegistry {
  readonly records = new Map<string, TenantRecord>();

  async register(record: TenantRecord): Promise<TenantRecord> {
    const there = this.records.get(record.tenantId);
    if (there === undefined) {
      this.records.set(record.tenantId, record);
      return record;
    }
    if (equalBytes(there.thumbprint, record.thumbprint)) return there;
    throw new CvmpError('ALREADY_EXISTS', `${record.tenantId} has another key`);
  }

  async get(tenantId: string): Promise<TenantRecord | undefined> {
    return this.records.get(tenantId);
  }

  async list(after: string | undefined, limit: number): Promise<readonly TenantRecord[]> {
    const ids = [...this.records.keys()].sort();
    const rest = ids.filter((id) => after === undefined || id > after);
    return rest.slice(0, limit).map((id) => this.records.get(id)!);
  }
}
