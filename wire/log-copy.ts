import { fromBase64Url, toBase64Url } from '#core/bytes.js';
import { decodeCoseKey, type EcPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import type { CopiedRecord, LogCopy } from '#core/log/copy.js';

// A copy of the log as a file of JSON lines: one for the copy, one for each record, and one that
// ends it, so that a file that was cut off is none. Bytes are in base64url.

const format = 1;

interface FirstLine {
  readonly cvmp_log_copy: number;
  readonly tenant: string | null;
  readonly key_server: string;
  readonly checkpoint: string;
  readonly kept: string | null;
  readonly consistency_path: readonly string[];
}

/** What a file holds. */
export interface LogCopyFile {
  readonly copy: LogCopy;
  /** As the file says it; whoever verifies must know it from elsewhere. */
  readonly keyServer: EcPublicKey;
}

/** First line of a file. */
export function firstLine(
  copy: Pick<LogCopy, 'checkpoint' | 'kept'>,
  tenantId: string | undefined,
  keyServer: EcPublicKey,
): string {
  const line: FirstLine = {
    cvmp_log_copy: format,
    tenant: tenantId ?? null,
    key_server: toBase64Url(encodeCoseKey(keyServer)),
    checkpoint: toBase64Url(copy.checkpoint),
    kept: copy.kept === undefined ? null : toBase64Url(copy.kept.signed),
    consistency_path: (copy.kept?.path ?? []).map(toBase64Url),
  };
  return JSON.stringify(line);
}

export function recordLine({ record, path }: CopiedRecord): string {
  const line = { record: toBase64Url(record) };
  return JSON.stringify(
    path === undefined ? line : { ...line, inclusion_path: path.map(toBase64Url) },
  );
}

/** Last line of a file. */
export function lastLine(records: number, signedHead: Uint8Array | undefined): string {
  const head = signedHead === undefined ? null : toBase64Url(signedHead);
  return JSON.stringify({ end: true, records, tenant_head: head });
}

/** @throws CvmpError MALFORMED naming the line */
export function parseLogCopy(text: string): LogCopyFile {
  const lines = text.split('\n').filter((line) => line !== '');
  const first = object(lines[0] ?? '', 1);
  if (first.cvmp_log_copy !== format) throw malformed(1, 'is not the begin of a copy of the log');
  const last = object(lines.at(-1) ?? '', lines.length);
  if (last.end !== true || last.records !== lines.length - 2) {
    throw malformed(lines.length, 'is not the end of the copy: it was cut off');
  }
  const records = lines.slice(1, -1).map((line, i) => {
    const { record, inclusion_path: path } = object(line, i + 2);
    const bytes = binary(record, i + 2);
    return path === undefined ? { record: bytes } : { record: bytes, path: hashes(path, i + 2) };
  });
  const { tenant, kept } = first;
  return {
    keyServer: decodeCoseKey(binary(first.key_server, 1), 'key_server'),
    copy: {
      checkpoint: binary(first.checkpoint, 1),
      kept:
        kept === null
          ? undefined
          : { signed: binary(kept, 1), path: hashes(first.consistency_path, 1) },
      tenant:
        typeof tenant === 'string'
          ? { tenantId: tenant, signedHead: binary(last.tenant_head, lines.length) }
          : undefined,
      records,
    },
  };
}

function object(line: string, number: number): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw malformed(number, 'is no JSON', cause);
  }
  if (typeof value !== 'object' || value === null) throw malformed(number, 'is no JSON object');
  return value as Readonly<Record<string, unknown>>;
}

function binary(value: unknown, line: number): Uint8Array {
  if (typeof value !== 'string') throw malformed(line, 'lacks bytes');
  return fromBase64Url(value, `line ${line}`);
}

function hashes(value: unknown, line: number): readonly Uint8Array[] {
  if (!Array.isArray(value)) throw malformed(line, 'lacks a path');
  return value.map((item) => binary(item, line));
}

function malformed(line: number, what: string, cause?: unknown): CvmpError {
  return new CvmpError('MALFORMED', `line ${line} ${what}`, { cause, field: `line ${line}` });
}
