import { decode } from '../cbor/decode.js';
import { encode } from '../cbor/encode.js';
import { asArray, asBytes, asInteger, asText } from '../cbor/read.js';
import type { CborValue } from '../cbor/value.js';
import { CvmpError, type ErrorCode, isErrorCode } from '../errors.js';
import { digestLength, leavesMax } from './tree.js';

/** A check of an appraisal that failed. */
export interface FailedCheckRecord {
  readonly code: ErrorCode;
  readonly message: string;
}

/** A decision, or a change, as the log keeps it; no secret is in it. */
export interface LogEvent {
  /** What was asked: "attest", "key_acquire" ...; lower case, at most 32 letters. */
  readonly operation: string;
  /** undefined where no tenant is proven (evidence that does not verify). */
  readonly tenantId: string | undefined;
  /** undefined: granted. */
  readonly code?: ErrorCode | undefined;
  readonly failedChecks?: readonly FailedCheckRecord[] | undefined;
  /** Who asked: "agent", "tenant", "operator", or a name that these gave. */
  readonly actor?: string | undefined;
  readonly cvmName?: string | undefined;
  /** 16 bytes. */
  readonly keyId?: Uint8Array | undefined;
  /** SVN released or asked for. */
  readonly svn?: number | undefined;
  /** Level that the evidence proved. */
  readonly level?: number | undefined;
  /** Floor that the decision was held to. */
  readonly svnFloor?: number | undefined;
  /** Format of the evidence. */
  readonly evidenceFormat?: string | undefined;
  /** SHA-256. */
  readonly evidenceDigest?: Uint8Array | undefined;
  /** SHA-256 of each endorsement that the evidence was verified with, at most 64. */
  readonly endorsementDigests?: readonly Uint8Array[] | undefined;
  /** SHA-256 of the policy as signed. */
  readonly policyDigest?: Uint8Array | undefined;
  readonly policyId?: string | undefined;
  readonly policyVersion?: number | undefined;
  /** Session of the agent, 16 bytes. */
  readonly sessionId?: Uint8Array | undefined;
  /** Id that the server's log lines use for this call. */
  readonly requestId: string;
  /** Of a KeyAcquire, as its agent says: "boot", "rekey", "migrate". */
  readonly reason?: string | undefined;
  /** SHA-256 of the signed request, where a signature asked for this. */
  readonly requestDigest?: Uint8Array | undefined;
  /** Generation of the root key that was released or confirmed. */
  readonly epoch?: number | undefined;
}

/** A record: an event at its place. */
export interface LogRecord extends LogEvent {
  /** Position in the server's log, from 1; its leaf is the one at `index - 1`. */
  readonly index: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Position among the records of its tenant (or of none), from 1 without a gap. */
  readonly sequence: number;
  /** Leaf digest of that one's record before this; 32 zero bytes before the first. */
  readonly previous: Uint8Array;
}

const recordBytesMax = 65_536;
const fieldCount = 25;
const digestRule = { length: digestLength };
const idRule = { length: 16 };
const textRule = { max: 256 };

/** Where a record stands. */
export type LogPlace = Pick<LogRecord, 'index' | 'time' | 'sequence' | 'previous'>;

/** Deterministic CBOR, the content of a leaf: an array, null for what is not said. */
export function encodeLogRecord(event: LogEvent, place: LogPlace): Uint8Array {
  return encode([
    place.index,
    place.time,
    place.sequence,
    place.previous,
    event.operation,
    event.tenantId ?? null,
    event.code ?? null,
    event.failedChecks?.map(({ code, message }) => [code, message]) ?? null,
    event.actor ?? null,
    event.cvmName ?? null,
    event.keyId ?? null,
    event.svn ?? null,
    event.level ?? null,
    event.svnFloor ?? null,
    event.evidenceFormat ?? null,
    event.evidenceDigest ?? null,
    event.endorsementDigests ?? null,
    event.policyDigest ?? null,
    event.policyId ?? null,
    event.policyVersion ?? null,
    event.sessionId ?? null,
    event.requestId,
    event.reason ?? null,
    event.requestDigest ?? null,
    event.epoch ?? null,
  ]);
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function decodeLogRecord(bytes: Uint8Array): LogRecord {
  const value = decode(bytes, { field: 'record', maxBytes: recordBytesMax });
  const fields = asArray(value, 'record', { length: fieldCount });
  const integer = (i: number, name: string, min = 0) =>
    asInteger(fields[i], `record.${name}`, { min, max: Number.MAX_SAFE_INTEGER });
  const some = <T>(i: number, name: string, read: (v: CborValue, field: string) => T) => {
    const field = fields[i] ?? null;
    return field === null ? undefined : read(field, `record.${name}`);
  };
  const text = (v: CborValue, field: string) => asText(v, field, textRule);
  const digest = (v: CborValue, field: string) => asBytes(v, field, digestRule);
  const id = (v: CborValue, field: string) => asBytes(v, field, idRule);
  return {
    index: asInteger(fields[0], 'record.index', { min: 1, max: leavesMax }),
    time: integer(1, 'time'),
    sequence: integer(2, 'sequence', 1),
    previous: asBytes(fields[3], 'record.previous', digestRule),
    operation: asText(fields[4], 'record.operation', { min: 1, max: 32 }),
    tenantId: some(5, 'tenant_id', text),
    code: some(6, 'code', errorCode),
    failedChecks: some(7, 'failed_checks', (v, field) => asArray(v, field).map(readCheck)),
    actor: some(8, 'actor', text),
    cvmName: some(9, 'cvm_name', text),
    keyId: some(10, 'key_id', id),
    svn: some(11, 'svn', asInteger),
    level: some(12, 'level', asInteger),
    svnFloor: some(13, 'svn_floor', asInteger),
    evidenceFormat: some(14, 'evidence_format', text),
    evidenceDigest: some(15, 'evidence_digest', digest),
    endorsementDigests: some(16, 'endorsement_digests', (v, field) =>
      asArray(v, field, { max: 64 }).map((item) => digest(item, field)),
    ),
    policyDigest: some(17, 'policy_digest', digest),
    policyId: some(18, 'policy_id', text),
    policyVersion: some(19, 'policy_version', asInteger),
    sessionId: some(20, 'session_id', id),
    requestId: asText(fields[21], 'record.request_id', textRule),
    reason: some(22, 'reason', text),
    requestDigest: some(23, 'request_digest', digest),
    epoch: some(24, 'epoch', asInteger),
  };
}

function readCheck(item: CborValue): FailedCheckRecord {
  const field = 'record.failed_checks';
  const [code, message] = asArray(item, field, { length: 2 });
  return { code: errorCode(code, field), message: asText(message, field) };
}

function errorCode(value: CborValue | undefined, field: string): ErrorCode {
  const code = asText(value, field);
  if (isErrorCode(code)) return code;
  throw new CvmpError('MALFORMED', `${field} is no code of ours`, { field });
}
