import { CvmpError, type ErrorCode } from '#core/errors.js';

/**
 * The code that the work is refused with, or `accepted`. An error without a code is a bug of the
 * code under test and is thrown on.
 */
export async function refusalOf(
  work: Promise<unknown> | (() => unknown),
): Promise<ErrorCode | 'accepted'> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    if (error instanceof CvmpError) return error.code;
    throw error;
  }
  return 'accepted';
}

/** As {@link refusalOf}, for work that answers at once: for properties over many inputs. */
export function refusalAtOnce(work: () => unknown): ErrorCode | 'accepted' {
  try {
    work();
  } catch (error) {
    if (error instanceof CvmpError) return error.code;
    throw error;
  }
  return 'accepted';
}
