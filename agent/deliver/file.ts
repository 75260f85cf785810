import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CvmpError } from '#core/errors.js';
import { demandVolatile } from './tmpfs.js';

/**
 * Writes the key to a file that only its owner may read, whole or not at all.
 * @param anywhere admit a file outside tmpfs; for simulated CVMs only
 * @throws CvmpError DELIVERY
 */
export async function deliverToFile(
  key: Uint8Array,
  path: string,
  anywhere: boolean,
): Promise<void> {
  if (!anywhere) await demandVolatile(dirname(path));
  const partial = `${path}.new`;
  try {
    await rm(partial, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const handle = await open(partial, flags, 0o600);
    try {
      await handle.writeFile(key);
    } finally {
      await handle.close();
    }
    await rename(partial, path);
  } catch (cause) {
    throw new CvmpError('DELIVERY', `${path} cannot be written`, { cause, field: path });
  }
}
