import { CvmpError } from '#core/errors.js';
import { type Draft, type Journal, type Receipt, StaleRead } from '../store/journal.js';
import type { AuditEvent, Told } from './contract.js';

/** What a decision writes, and what is answered once that is durable. */
export interface Decision<T> extends Omit<Draft<AuditEvent>, 'event'> {
  readonly answer: (receipt: Receipt | undefined) => T | Promise<T>;
}

/** An audit event while its decision is being made. */
export type AuditEventDraft = { -readonly [K in keyof AuditEvent]: AuditEvent[K] };

/** How something is decided; both steps may throw CvmpError to refuse. */
export interface Deciding<Loaded, T> {
  /** Reads what the decision needs, so that it is in memory. */
  readonly load: () => Loaded | Promise<Loaded>;
  /** Decides on what is in memory now, which may be newer than what was loaded. */
  readonly decide: (loaded: Loaded, event: AuditEventDraft) => Decision<T>;
  /** Drops what was read from memory, after something changed elsewhere. */
  readonly forget?: () => void;
}

const attemptsMax = 16;

/**
 * Decides, records, and answers only when decision and record are durable; a refusal is recorded
 * too, and then thrown. Nothing happens between decision and submission, so that calls which
 * concern one key follow each other without waiting for the disk.
 * @param event what is known before; `decide` adds what it finds, also on its way to a refusal
 * @param told where the caller learns which record of the log it became
 */
export async function deciding<Loaded, T>(
  journal: Journal<AuditEvent>,
  event: AuditEvent,
  { load, decide, forget }: Deciding<Loaded, T>,
  told: Told = {},
): Promise<T> {
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const record: AuditEventDraft = { ...event };
    try {
      const found = load();
      const loaded = found instanceof Promise ? await found : found;
      const { puts, deletes, unchanged, submitted, answer } = decide(loaded, record);
      const draft = { puts, deletes, unchanged, submitted, event: record };
      told.receipt = await journal.submit(draft);
      const answered = answer(told.receipt);
      return answered instanceof Promise ? await answered : answered;
    } catch (error) {
      if (error instanceof StaleRead) {
        forget?.();
        continue;
      }
      if (error instanceof CvmpError && error !== journal.failure) {
        told.receipt = await journal.submit({ event: { ...record, code: error.code } });
      }
      throw error;
    }
  }
  throw new CvmpError('CAS_MISMATCH', 'too many changes at once; nothing was decided');
}
