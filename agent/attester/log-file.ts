import { readFile } from 'node:fs/promises';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { logBytesMax } from '#core/eventlog/parse.js';

/**
 * A log of the kernel or of systemd. Without one the evidence says less, which is the policy's to
 * judge; one that is there but cannot be read is a fault of this machine.
 * @param code of that fault
 * @returns undefined where there is none
 * @throws CvmpError `code`, also where it is larger than evidence may have
 */
export async function readLogFile(path: string, code: ErrorCode): Promise<Uint8Array | undefined> {
  let bytes: Uint8Array;
  try {
    // Files of securityfs and sysfs say that they are empty: read to the end.
    bytes = new Uint8Array(await readFile(path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CvmpError(code, `${path} cannot be read`, { cause, field: 'event_log_file' });
  }
  if (bytes.length > logBytesMax) {
    const message = `${path} has ${bytes.length} bytes, at most ${logBytesMax}`;
    throw new CvmpError(code, message, { field: 'event_log_file' });
  }
  return bytes;
}
