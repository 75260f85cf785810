import { type DestinationStream, type Logger, pino } from 'pino';
import { CvmpError } from '#core/errors.js';

export type { Logger };

/** Names of all fields that a log line may have; messages are constant, context goes in fields. */
export const logField = {
  code: 'code',
  field: 'field',
  reason: 'reason',
  stack: 'stack',
  phase: 'phase',
  keyId: 'key_id',
  svn: 'svn',
  svnFloor: 'svn_floor',
  level: 'level',
  diskAction: 'disk_action',
  backend: 'backend',
  evidence: 'evidence',
  simulated: 'simulated',
  step: 'step',
  delayMs: 'delay_ms',
  notice: 'notice',
  exitCode: 'exit_code',
} as const;

/** JSON lines, written at once, so that the last line before a crash is there. */
export function createLog(
  destination: DestinationStream = pino.destination({ dest: 2, sync: true }),
): Logger {
  const name = 'cvmp-agent';
  return pino({ base: { name }, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

/** What the log holds of an error: its code and reason, a stack only where it is a bug of ours. */
export function errorFields(error: CvmpError): Record<string, string> {
  const { code, message, field, cause } = error;
  if (code === 'INTERNAL') {
    const stack = cause instanceof Error ? cause.stack : error.stack;
    return { [logField.code]: code, [logField.stack]: stack ?? message };
  }
  const reason = cause instanceof Error ? `${message}: ${cause.message}` : message;
  return {
    [logField.code]: code,
    [logField.reason]: reason,
    ...(field === undefined ? {} : { [logField.field]: field }),
  };
}

/** Any error as one with a code; what has none is a fault of ours. */
export function codedError(error: unknown): CvmpError {
  if (error instanceof CvmpError) return error;
  return new CvmpError('INTERNAL', 'a fault of the agent', { cause: error });
}
