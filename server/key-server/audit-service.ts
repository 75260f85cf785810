import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { CvmpError } from '#core/errors.js';
import { leavesMax } from '#core/log/tree.js';
import {
  type AuditEntrySchema,
  AuditService,
  type ExplainAuditEntryResponseSchema,
  type LoggedRecordSchema,
} from '#gen/cvmp/v1/audit_pb.js';
import { type BoundService, bindService, tenantOf } from '#server/host/handlers.js';
import { pageRequest } from '#server/host/paging.js';
import type { Logged } from './log/blocks.js';
import type { AppraisedEvidence, EvidenceKeeper } from './log/evidence.js';
import type { LogReading, Proven } from './log/reading.js';
import type { RollbackGuard } from './log/rollback.js';
import type { Policies } from './release/contract.js';

const nothing = new Uint8Array();
const recordsDefault = 100;

export interface AuditParts {
  readonly log: LogReading;
  readonly guard: Pick<RollbackGuard, 'continueFrom'>;
  readonly evidence: Pick<EvidenceKeeper, 'find'>;
  readonly policies: Pick<Policies, 'get'>;
}

/** AuditService: every decision about a tenant's CVMs and keys, for that tenant, with its proofs. */
export function auditService({ log, guard, evidence, policies }: AuditParts): BoundService {
  return bindService(AuditService, {
    async listAuditEntries({ refusedOnly, ...page }, context) {
      const tenantId = tenantOf(context);
      const { items, nextPageToken } = await log.list(tenantId, pageRequest(page), {
        refusedOnly,
      });
      return { entries: items.map(entryMessage), nextPageToken };
    },

    async getCheckpoint({ knownCheckpoint }) {
      const shown = knownCheckpoint.length === 0 ? [] : [knownCheckpoint];
      const { checkpoint, path } = await guard.continueFrom(shown);
      return { checkpoint: checkpoint.signed, consistencyPath: [...path] };
    },

    async proveConsistency({ firstSize, secondSize }) {
      const first = sizeOf(firstSize, 'first_size');
      const path = await log.consistency(first, sizeOf(secondSize, 'second_size'));
      return { consistencyPath: [...path] };
    },

    async proveInclusion({ index, size }, context) {
      const at = sizeOf(index, 'index');
      const proven = await log.inclusion(tenantOf(context), at, sizeOf(size, 'size'));
      return { record: loggedRecord(proven) };
    },

    async exportAuditRecords({ afterIndex, size, pageSize }, context) {
      const after = sizeOf(afterIndex, 'after_index');
      const count = pageSize === 0 ? recordsDefault : pageSize;
      const tenantId = tenantOf(context);
      const exported = await log.export(tenantId, after, sizeOf(size, 'size'), count);
      const { records, more, signedHead } = exported;
      return { records: records.map(loggedRecord), more, signedHead };
    },

    async explainAuditEntry({ index }, context) {
      const tenantId = tenantOf(context);
      const record = await log.find(tenantId, sizeOf(index, 'index'));
      const { policyId, policyVersion, sessionId, evidenceDigest } = record;
      const policy =
        policyId === undefined || policyVersion === undefined
          ? undefined
          : await policies.get(tenantId, policyId, policyVersion);
      const kept =
        sessionId === undefined || evidenceDigest === undefined
          ? undefined
          : await evidence.find(tenantId, sessionId, evidenceDigest);
      const signedPolicy = policy?.signed ?? nothing;
      return { record: record.bytes, signedPolicy, ...(kept && evidenceMessage(kept)) };
    },
  });
}

function evidenceMessage(
  evidence: AppraisedEvidence,
): MessageInitShape<typeof ExplainAuditEntryResponseSchema> {
  const { certificates, crls, documents = [] } = evidence.endorsements;
  return {
    cmwCollection: evidence.collection,
    configDocument: evidence.configDocument,
    reportData: evidence.reportData,
    appraisedAt: BigInt(evidence.at),
    activated: evidence.activated,
    endorsements: [
      ...certificates.map((content) => ({ kind: 'certificate', content })),
      ...crls.map((content) => ({ kind: 'crl', content })),
      ...documents.map(({ mediaType, value }) => ({ kind: mediaType, content: value })),
    ],
    anchors: [...evidence.anchors],
  };
}

/** A record with its proof, as every answer of the server says it. */
export function loggedRecord({
  record,
  path,
}: Proven): MessageInitShape<typeof LoggedRecordSchema> {
  return { index: BigInt(record.index), record: record.bytes, inclusionPath: [...path] };
}

function entryMessage(entry: Logged): MessageInitShape<typeof AuditEntrySchema> {
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
    leafDigest: entry.leaf,
    reason: entry.reason ?? '',
    sequence: BigInt(entry.sequence),
    previousDigest: entry.previous,
    evidenceFormat: entry.evidenceFormat ?? '',
    endorsementDigests: [...(entry.endorsementDigests ?? [])],
    sessionId: entry.sessionId ?? nothing,
    svnFloor: entry.svnFloor ?? 0,
    epoch: entry.epoch ?? 0,
    actor: entry.actor ?? '',
  };
}

/** @throws CvmpError INVALID_FIELD: no log has so many records */
function sizeOf(value: bigint, field: string): number {
  if (value <= BigInt(leavesMax)) return Number(value);
  throw new CvmpError('INVALID_FIELD', `${field} is beyond 2^48`, { field });
}
