import { CvmpError, type ErrorCode } from '#core/errors.js';
import type { RetryConfig } from '../config.js';

/** Time and chance, passed in so that a test can be both. */
export interface BackoffIo {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Resolves after `ms`; rejects with CvmpError CANCELLED where the agent is told to end. */
  readonly sleep: (ms: number) => Promise<void>;
  /** From 0 up to but not including 1. */
  readonly random: () => number;
  /** Told before each wait. */
  readonly onRetry: (error: CvmpError, delayMs: number) => void;
}

/** What time cures is worth another try: a refusal would be the same again. */
const passing: readonly ErrorCode[] = [
  'UNAVAILABLE',
  'SHUTTING_DOWN',
  'SEALED',
  'DEADLINE',
  'STORE_WRITE',
  'RATE',
  'ENDORSEMENT_UNAVAILABLE',
  'ENDORSEMENT_INVALID',
];

export function isPassing(error: unknown): error is CvmpError {
  return error instanceof CvmpError && passing.includes(error.code);
}

/**
 * Repeats `work` while it fails with UNAVAILABLE: waits double from `initialMs` up to `maxMs`, each
 * between a half and the whole of that (a fleet that lost its Key Server must not come back at one
 * instant), until `deadlineMs` would pass.
 * @throws what `work` throws
 */
export async function withBackoff<T>(
  work: () => Promise<T>,
  { initialMs, maxMs, deadlineMs }: RetryConfig,
  io: BackoffIo,
): Promise<T> {
  const start = io.now();
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const ceiling = Math.min(maxMs, initialMs * 2 ** Math.min(attempt, 30));
      const delay = Math.round((ceiling * (1 + io.random())) / 2);
      if (!isPassing(error) || io.now() + delay - start > deadlineMs) throw error;
      io.onRetry(error, delay);
      await io.sleep(delay);
    }
  }
}
