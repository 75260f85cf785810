import { inspect } from 'node:util';
import { type DestinationStream, type Logger, pino } from 'pino';
import { CvmpError } from '#core/errors.js';

/** Names of all fields that a log line may have; messages are constant, context goes in fields. */
export const logField = {
  requestId: 'request_id',
  traceId: 'trace_id',
  method: 'method',
  peer: 'peer',
  role: 'role',
  actor: 'actor',
  tenantId: 'tenant_id',
  code: 'code',
  field: 'field',
  reason: 'reason',
  stack: 'stack',
  durationMs: 'duration_ms',
  address: 'address',
  port: 'port',
  signal: 'signal',
  service: 'service',
  cvmId: 'cvm_id',
  cvmIds: 'cvm_ids',
  operation: 'operation',
  endorsement: 'endorsement',
  shownSize: 'shown_size',
  ownSize: 'own_size',
  settings: 'settings',
} as const;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** JSON lines; written at once, so that the last line before a crash is there. */
export function createLog(
  name: string,
  level: LogLevel,
  destination: DestinationStream = pino.destination({ dest: 2, sync: true }),
): Logger {
  return pino(
    { name, level, base: { name }, timestamp: pino.stdTimeFunctions.isoTime },
    destination,
  );
}

/** What the log holds of an error: its code and reason, a stack only where it is a bug of ours. */
export function errorFields(error: unknown): Record<string, string> {
  if (error instanceof CvmpError) {
    const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return {
      [logField.code]: error.code,
      [logField.reason]: `${error.message}${cause}`,
      ...(error.field === undefined ? {} : { [logField.field]: error.field }),
    };
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : inspect(error);
  return { [logField.code]: 'INTERNAL', [logField.stack]: stack };
}
