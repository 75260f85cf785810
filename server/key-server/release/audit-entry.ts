import { concat } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asText, decodeMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError, type ErrorCode, isErrorCode } from '#core/errors.js';
import { crypto } from '#crypto';
import type { AuditEntry, AuditEvent, AuditOperation } from './contract.js';

/** What is hashed and stored of an entry: everything but the digest itself. */
export type AuditBody = Omit<AuditEntry, 'chainDigest'>;

/** chain digest n = SHA-256(chain digest n-1 || encoded entry n). */
export function chainDigest(previous: Uint8Array, body: Uint8Array): Uint8Array {
  return crypto.hash('sha256', concat(previous, body));
}

const operations: readonly AuditOperation[] = [
  'attest',
  'key_alloc',
  'key_acquire',
  'key_update',
  'key_confirm',
  'set_key_policy',
  'register_tenant',
];

/** Deterministic CBOR, a closed map. */
export function encodeAuditBody(event: AuditEvent, index: number, time: number): Uint8Array {
  const map = new Map<number, CborValue>();
  const set = (key: number, value: CborValue | undefined) => {
    if (value !== undefined) map.set(key, value);
  };
  set(1, index);
  set(2, time);
  set(3, event.operation);
  set(4, event.tenantId);
  set(5, event.code);
  set(
    6,
    event.failedChecks?.map(({ code, message }) => [code, message]),
  );
  set(7, event.cvmName);
  set(8, event.keyId);
  set(9, event.svn);
  set(10, event.level);
  set(11, event.evidenceDigest);
  set(12, event.policyDigest);
  set(13, event.requestId);
  return encode(map);
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function decodeAuditBody(bytes: Uint8Array): AuditBody {
  return decodeMap(bytes, 'audit', (m) => ({
    index: m.integer(1, 'index', { min: 1 }),
    time: m.integer(2, 'time'),
    operation: operationOf(m.text(3, 'operation'), 'audit.operation'),
    tenantId: m.optional(4, () => m.text(4, 'tenant_id')),
    code: m.optional(5, () => errorCode(m.text(5, 'code'), 'audit.code')),
    failedChecks: m.optional(6, () => m.array(6, 'failed_checks', { max: 1000 }, readCheck)),
    cvmName: m.optional(7, () => m.text(7, 'cvm_name')),
    keyId: m.optional(8, () => m.bytes(8, 'key_id')),
    svn: m.optional(9, () => m.integer(9, 'svn')),
    level: m.optional(10, () => m.integer(10, 'level')),
    evidenceDigest: m.optional(11, () => m.bytes(11, 'evidence_digest')),
    policyDigest: m.optional(12, () => m.bytes(12, 'policy_digest')),
    requestId: m.text(13, 'request_id'),
  }));
}

function readCheck(item: CborValue, field: string): { code: ErrorCode; message: string } {
  const [code, message] = asArray(item, field, { length: 2 });
  return { code: errorCode(asText(code, field), field), message: asText(message, field) };
}

function errorCode(text: string, field: string): ErrorCode {
  if (isErrorCode(text)) return text;
  throw new CvmpError('MALFORMED', `${field} is no code of ours`, { field });
}

function operationOf(text: string, field: string): AuditOperation {
  const operation = operations.find((known) => known === text);
  if (operation !== undefined) return operation;
  throw new CvmpError('MALFORMED', `${field} is no operation of ours`, { field });
}
