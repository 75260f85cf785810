import { equalBytes, toHex } from '../bytes.js';
import type { EcPublicKey } from '../cose/key.js';
import { CvmpError, type ErrorCode } from '../errors.js';
import { demandContinuation, openCheckpoint, type SignedCheckpoint } from './checkpoint.js';
import { verifyInclusion } from './proofs.js';
import { decodeLogRecord, type LogRecord } from './record.js';
import { openTenantHead } from './tenant-head.js';
import { append, digestLength, emptyFrontier, leafDigest, rootOf } from './tree.js';

/** A record of a copy; an operator's copy of the whole log needs no paths. */
export interface CopiedRecord {
  /** As it is hashed. */
  readonly record: Uint8Array;
  /** Inclusion proof for the copy's checkpoint. */
  readonly path?: readonly Uint8Array[] | undefined;
}

/** A copy of records that left the server, with what proves it whole. */
export interface LogCopy {
  /** COSE_Sign1. */
  readonly checkpoint: Uint8Array;
  /** Checkpoint that whoever copied had kept before, with its consistency proof. */
  readonly kept: { readonly signed: Uint8Array; readonly path: readonly Uint8Array[] } | undefined;
  /** A tenant's copy: whose, and the server's word on its last record (tenant-head.ts). */
  readonly tenant: { readonly tenantId: string; readonly signedHead: Uint8Array } | undefined;
  readonly records: readonly CopiedRecord[];
}

/** Something that does not hold. */
export interface CopyFault {
  readonly code: ErrorCode;
  /** Position of the record in the server's log; undefined: of the copy as a whole. */
  readonly index: number | undefined;
  readonly message: string;
}

/** What a copy was found to be. */
export interface CopyVerdict {
  readonly checkpoint: SignedCheckpoint;
  readonly kept: SignedCheckpoint | undefined;
  /** Those that can be read. */
  readonly records: readonly LogRecord[];
  /** None where every record is what the server decided then, and none is missing. */
  readonly faults: readonly CopyFault[];
}

/** The last record of one tenant while a copy is read. */
interface Last {
  readonly sequence: number;
  readonly leaf: Uint8Array;
}

const noRecord: Last = { sequence: 0, leaf: new Uint8Array(digestLength) };

/**
 * Verifies a copy of the log without its server: signatures, the continuation of what was kept, that
 * every record is in the log, unchanged, in its place, and that none is missing.
 * @throws CvmpError SIGNATURE_INVALID, SERVER_UNTRUSTED, MALFORMED ...: a signed part is no such part
 */
export async function verifyLogCopy(copy: LogCopy, keyServer: EcPublicKey): Promise<CopyVerdict> {
  const checkpoint = await openCheckpoint(copy.checkpoint, keyServer);
  const kept = copy.kept && (await openCheckpoint(copy.kept.signed, keyServer));
  const faults: CopyFault[] = [];
  const fault = (message: string, index?: number, code: ErrorCode = 'LOG_INCONSISTENT') =>
    faults.push({ code, index, message });
  const attempt = (index: number | undefined, work: () => void) => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof CvmpError)) throw error;
      fault(error.message, index, error.code);
    }
  };
  if (kept !== undefined) {
    attempt(undefined, () => demandContinuation(kept, checkpoint, copy.kept!.path));
  }
  const records: LogRecord[] = [];
  const last = new Map<string, Last>();
  const leaves: Uint8Array[] = [];
  for (const { record: bytes, path } of copy.records) {
    const leaf = leafDigest(bytes);
    leaves.push(leaf);
    attempt(undefined, () => {
      const record = decodeLogRecord(bytes);
      const { index } = record;
      if (path !== undefined && !isIncluded(leaf, index, path, checkpoint)) {
        fault('it is not in the log of the checkpoint', index);
      }
      if (path === undefined && index !== leaves.length) {
        fault(`it stands where record ${leaves.length} should`, index);
      }
      if (records.length > 0 && index <= records.at(-1)!.index) fault('it is out of order', index);
      follow(record, leaf, last, (message) => fault(message, index));
      records.push(record);
    });
  }
  if (copy.tenant === undefined) demandRoot(leaves, checkpoint, fault);
  else await demandHead(copy.tenant, { keyServer, checkpoint, records, last }, fault);
  return { checkpoint, kept, records, faults };
}

function isIncluded(
  leaf: Uint8Array,
  index: number,
  path: readonly Uint8Array[],
  { size, root }: SignedCheckpoint,
): boolean {
  return verifyInclusion(leaf, index - 1, size, path, root);
}

/** Every record names the one of its tenant before it: what is left out shows. */
function follow(
  record: LogRecord,
  leaf: Uint8Array,
  last: Map<string, Last>,
  fault: (message: string) => void,
): void {
  const { tenantId = '', sequence, previous } = record;
  const before = last.get(tenantId) ?? noRecord;
  if (sequence !== before.sequence + 1) {
    const missing = sequence - before.sequence - 1;
    const what = missing > 0 ? `${missing} records before it are missing` : 'it is there twice';
    fault(`${what}: it is number ${sequence}, after number ${before.sequence}`);
  } else if (!equalBytes(previous, before.leaf)) {
    fault(`it follows ${toHex(previous).slice(0, 16)}, which is not the record before it`);
  }
  last.set(tenantId, { sequence, leaf });
}

function demandRoot(
  leaves: readonly Uint8Array[],
  { size, root }: SignedCheckpoint,
  fault: (message: string) => void,
): void {
  if (leaves.length !== size) fault(`${size} records are signed for, ${leaves.length} are here`);
  else if (!equalBytes(rootOf(append(emptyFrontier, leaves)), root)) {
    fault('the records are not those that the checkpoint signs for');
  }
}

async function demandHead(
  { tenantId, signedHead }: NonNullable<LogCopy['tenant']>,
  found: {
    readonly keyServer: EcPublicKey;
    readonly checkpoint: SignedCheckpoint;
    readonly records: readonly LogRecord[];
    readonly last: ReadonlyMap<string, Last>;
  },
  fault: (message: string, index?: number) => void,
): Promise<void> {
  const head = await openTenantHead(signedHead, found.keyServer);
  const { size, root } = found.checkpoint;
  if (head.tenantId !== tenantId) fault(`the last record is told of ${head.tenantId}`);
  if (head.size !== size || !equalBytes(head.root, root)) {
    fault('the last record is told for another size of the log');
  }
  for (const { tenantId: of = '', index } of found.records) {
    if (of !== tenantId) fault(`it is a record of ${of === '' ? 'nobody' : of}`, index);
  }
  const { sequence, leaf } = found.last.get(tenantId) ?? noRecord;
  if (sequence < head.sequence) {
    fault(`${head.sequence - sequence} records are kept back: there are ${head.sequence}`);
  } else if (sequence > head.sequence || !equalBytes(leaf, head.leaf)) {
    fault('the last record is not the one that the server signs for');
  }
}
