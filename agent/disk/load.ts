import { CvmpError } from '#core/errors.js';
import type { DiskConfig } from '../config.js';
import { Cryptsetup } from './cryptsetup.js';
import type { Disk } from './disk.js';
import { openDiskFile } from './disk-file.js';
import { LuksDisk } from './luks.js';
import { VolumeDisk } from './volume.js';

/**
 * Reads and checks the header of the configured disk. `auto` is LUKS where cryptsetup is installed.
 * @throws CvmpError DISK, HEADER_REFUSED
 */
export async function loadDisk(config: DiskConfig, stateDir: string): Promise<Disk> {
  const { backend, mapperName } = config;
  const cryptsetup = new Cryptsetup();
  const luks = backend === 'luks' || (backend === 'auto' && (await cryptsetup.isInstalled()));
  if (!luks && mapperName !== undefined) {
    throw new CvmpError('DISK', 'only cryptsetup maps a disk', { field: 'disk.mapper_name' });
  }
  const file = await openDiskFile(config.path, config.sizeMib * 1024 * 1024);
  try {
    return luks
      ? await LuksDisk.load(file, { stateDir, mapperName, cryptsetup })
      : await VolumeDisk.load(file);
  } catch (error) {
    await file.close();
    throw error;
  }
}
