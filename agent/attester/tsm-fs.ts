import { constants } from 'node:fs';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TsmFileOps } from './tsm.js';

/** configfs-tsm itself. @param root its report folder, `/sys/kernel/config/tsm/report` */
export function fileSystemTsm(root: string): TsmFileOps {
  return {
    mkdir: (path) => mkdir(join(root, path)),
    rmdir: (path) => rmdir(join(root, path)),
    // Attributes exist from mkdir on, and most are write-only: neither O_CREAT nor O_RDWR.
    writeFile: (path, data) => writeFile(join(root, path), data, { flag: constants.O_WRONLY }),
    readFile: async (path) => new Uint8Array(await readFile(join(root, path))),
    close: () => {},
  };
}
