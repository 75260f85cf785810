import type { ErrorCode } from '../errors.js';
import type { FailedCheck } from './attestation-result.js';

/** One thing that claims must show, in the table of their format. */
export interface Check<Subject, Asked> {
  /** Stable name, without the format. */
  readonly name: string;
  readonly code: ErrorCode;
  /** What is wrong, in words; undefined where nothing is. */
  readonly fault: (subject: Subject, asked: Asked) => string | undefined;
}

/** What fails, in the order of the checks. */
export function failed<Subject, Asked>(
  format: string,
  checks: readonly Check<Subject, Asked>[],
  subject: Subject,
  asked: Asked,
): readonly FailedCheck[] {
  return checks.flatMap(({ name, code, fault }) => {
    const message = fault(subject, asked);
    return message === undefined ? [] : [{ code, check: `${format}.${name}`, message }];
  });
}
