import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AuditService } from '#gen/cvmp/v1/audit_pb.js';
import { type BoundService, bindService, tenantOf } from '#server/host/handlers.js';
import { pageRequest } from '#server/host/paging.js';
import type { AuditEntry, AuditLog } from './release/contract.js';

const nothing = new Uint8Array();

/** AuditService: every decision about a tenant's CVMs and keys, for that tenant. */
export function auditService(audit: Pick<AuditLog, 'list'>): BoundService {
  return bindService(AuditService, {
    async listAuditEntries({ refusedOnly, ...page }, context) {
      const tenantId = tenantOf(context);
      const { items, nextPageToken } = await audit.list(tenantId, pageRequest(page), {
        refusedOnly,
      });
      return { entries: items.map(entryMessage), nextPageToken };
    },
  });
}

function entryMessage(entry: AuditEntry) {
  return {
    index: BigInt(entry.index),
    time: timestampFromMs(entry.time),
    operation: entry.operation,
    granted: entry.code === undefined,
    code: entry.code ?? '',
    failedChecks: (entry.failedChecks ?? []).map(({ code, message }) => ({ code, message })),
    cvmName: entry.cvmName ?? '',
    keyId: entry.keyId ?? nothing,
    svn: entry.svn ?? 0,
    level: entry.level ?? 0,
    evidenceDigest: entry.evidenceDigest ?? nothing,
    policyDigest: entry.policyDigest ?? nothing,
    requestId: entry.requestId,
    leafDigest: entry.chainDigest,
    reason: entry.reason ?? '',
  };
}
