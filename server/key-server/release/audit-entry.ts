import { concat } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, asInteger, asText } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError, type ErrorCode, isErrorCode } from '#core/errors.js';
import { crypto } from '#crypto';
import type { AcquireRequest, AuditEntry, AuditEvent, AuditOperation } from './contract.js';

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
  'key_suspend',
  'key_resume',
  'key_mark_compromised',
  'key_rotate',
  'key_retire_epochs',
  'key_order_destroy',
  'key_cancel_destroy',
  'key_destroy',
  'set_key_policy',
  'register_tenant',
  'suspend_tenant',
  'resume_tenant',
  'limit_tenant',
  'replace_tenant_key',
  'rotate_tenant_key',
  'revoke_delegations',
  'add_client_certificate',
  'remove_client_certificate',
];

const reasons: readonly AcquireRequest['reason'][] = ['boot', 'rekey', 'migrate'];

/** Deterministic CBOR: an array, null for what is not said. Read by {@link decodeAuditBody}. */
export function encodeAuditBody(event: AuditEvent, index: number, time: number): Uint8Array {
  return encode([
    index,
    time,
    event.operation,
    event.tenantId ?? null,
    event.code ?? null,
    event.failedChecks?.map(({ code, message }) => [code, message]) ?? null,
    event.cvmName ?? null,
    event.keyId ?? null,
    event.svn ?? null,
    event.level ?? null,
    event.evidenceDigest ?? null,
    event.policyDigest ?? null,
    event.requestId,
    event.reason ?? null,
  ]);
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function decodeAuditBody(bytes: Uint8Array): AuditBody {
  const fields = asArray(decode(bytes), 'audit', { length: 14 });
  const some = <T>(
    i: number,
    name: string,
    read: (value: CborValue, field: string) => T,
  ): T | undefined => {
    const value = fields[i] ?? null;
    return value === null ? undefined : read(value, `audit.${name}`);
  };
  return {
    index: asInteger(fields[0], 'audit.index', { min: 1 }),
    time: asInteger(fields[1], 'audit.time'),
    operation: known(operations, asText(fields[2], 'audit.operation'), 'audit.operation'),
    tenantId: some(3, 'tenant_id', asText),
    code: some(4, 'code', (value, field) => errorCode(asText(value, field), field)),
    failedChecks: some(5, 'failed_checks', (value, field) =>
      asArray(value, field).map((item) => readCheck(item, field)),
    ),
    cvmName: some(6, 'cvm_name', asText),
    keyId: some(7, 'key_id', asBytes),
    svn: some(8, 'svn', asInteger),
    level: some(9, 'level', asInteger),
    evidenceDigest: some(10, 'evidence_digest', asBytes),
    policyDigest: some(11, 'policy_digest', asBytes),
    requestId: asText(fields[12], 'audit.request_id'),
    reason: some(13, 'reason', (value, field) => known(reasons, asText(value, field), field)),
  };
}

function readCheck(item: CborValue, field: string): { code: ErrorCode; message: string } {
  const [code, message] = asArray(item, field, { length: 2 });
  return { code: errorCode(asText(code, field), field), message: asText(message, field) };
}

function errorCode(text: string, field: string): ErrorCode {
  if (isErrorCode(text)) return text;
  throw new CvmpError('MALFORMED', `${field} is no code of ours`, { field });
}

function known<T extends string>(all: readonly T[], text: string, field: string): T {
  const found = all.find((one) => one === text);
  if (found !== undefined) return found;
  throw new CvmpError('MALFORMED', `${field} is none of ours`, { field });
}
