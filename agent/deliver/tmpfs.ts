import { statfs } from 'node:fs/promises';
import { CvmpError } from '#core/errors.js';

/** f_type of file systems that live in memory (statfs(2)). */
const volatileTypes: readonly number[] = [0x01021994, 0x858458f6];

/**
 * What the provider can read, it will: keys and private copies stay in memory of the guest.
 * @throws CvmpError DELIVERY unless the folder is on tmpfs or ramfs
 */
export async function demandVolatile(folder: string): Promise<void> {
  let type: number;
  try {
    type = (await statfs(folder)).type;
  } catch (cause) {
    throw new CvmpError('DELIVERY', `${folder} is not there`, { cause, field: folder });
  }
  if (!volatileTypes.includes(type)) {
    const what = `${folder} is not on tmpfs: what is written there reaches a disk`;
    throw new CvmpError('DELIVERY', what, { field: folder });
  }
}
