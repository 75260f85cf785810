import { inspect } from 'node:util';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
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
  suppressed: 'suppressed',
} as const;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Fields that no line may show, whoever puts them there. */
const secretFields = [
  'authorization',
  'token',
  'passphrase',
  'share',
  'secret',
  'master_key',
  'root_key',
  'security_key',
  'evidence',
];

/** How many lines that are alike are written. */
export interface RepeatLimit {
  readonly perMinuteMax: number;
  /** Milliseconds. */
  readonly now: () => number;
}

/**
 * JSON lines; written at once, so that the last line before a crash is there.
 * @param repeats absent: every line is written
 */
export function createLog(
  name: string,
  level: LogLevel,
  destination: DestinationStream = pino.destination({ dest: 2, sync: true }),
  repeats?: RepeatLimit,
): Logger {
  const options: LoggerOptions = {
    name,
    level,
    base: { name },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: secretFields.flatMap((field) => [field, `*.${field}`]),
      censor: '[secret]',
    },
    ...(repeats === undefined ? {} : { hooks: { logMethod: limited(repeats) } }),
  };
  return pino(options, destination);
}

type LogMethod = NonNullable<NonNullable<LoggerOptions['hooks']>['logMethod']>;

interface Repeats {
  since: number;
  written: number;
  suppressed: number;
}

const minute = 60_000;
/** Messages and codes are constant, so there are not many kinds of lines. */
const kindsMax = 4096;

/** Lines are alike in level, message and code. The first after a pause says how many were left out. */
function limited({ perMinuteMax, now }: RepeatLimit): LogMethod {
  const kinds = new Map<string, Repeats>();
  return function (args, method, level) {
    const [fields, message] = args as unknown as [unknown, unknown];
    const hasFields = typeof fields === 'object' && fields !== null;
    const code = hasFields ? (fields as Readonly<Record<string, unknown>>)[logField.code] : '';
    const kind = `${level} ${String(hasFields ? message : fields)} ${String(code)}`;
    const at = now();
    const seen = kinds.get(kind);
    if (seen === undefined || at - seen.since >= minute || at < seen.since) {
      if (kinds.size >= kindsMax) kinds.clear();
      kinds.set(kind, { since: at, written: 1, suppressed: 0 });
      const suppressed = seen?.suppressed ?? 0;
      if (suppressed > 0 && hasFields)
        Object.assign(args, [{ ...fields, [logField.suppressed]: suppressed }]);
    } else if (seen.written >= perMinuteMax) {
      seen.suppressed += 1;
      return;
    } else {
      seen.written += 1;
    }
    method.apply(this, args);
  };
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
