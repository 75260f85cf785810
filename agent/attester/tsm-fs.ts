import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TsmFileOps } from './tsm.js';

/** configfs-tsm itself. @param root its report folder, `/sys/kernel/config/tsm/report` */
export function fileSystemTsm(root: string): TsmFileOps {
  return {
    mkdir: (path) => mkdir(join(root, path)),
    rmdir: (path) => rmdir(join(root, path)),
    // Attributes exist from mkdir on; O_CREAT would hide a missing one behind another errno.
    writeFile: (path, data) => writeFile(join(root, path), data, { flag: 'r+' }),
    readFile: async (path) => new Uint8Array(await readFile(join(root, path))),
    close: () => {},
  };
}
