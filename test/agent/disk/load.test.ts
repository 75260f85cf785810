import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DiskConfig } from '#agent/config.js';
import { Cryptsetup } from '#agent/disk/cryptsetup.js';
import { loadDisk } from '#agent/disk/load.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const folder = temporaryFolder('load');
const config = (change: Partial<DiskConfig>): DiskConfig => ({
  path: join(folder, 'disk'),
  backend: 'volume',
  sizeMib: 8,
  mapperName: undefined,
  ...change,
});

describe('disk of the config file', () => {
  test('auto is LUKS where cryptsetup is installed, else a volume', async () => {
    const installed = await new Cryptsetup().isInstalled();
    const disk = await loadDisk(config({ backend: 'auto' }), folder);
    expect(disk.backend).toBe(installed ? 'luks' : 'volume');
    await disk.close();
  });

  test('a disk that does not exist is made in its size, readable by its owner alone', async () => {
    const path = join(folder, 'new');
    await (await loadDisk(config({ path }), folder)).close();
    const stat = statSync(path);
    expect([stat.size, stat.mode & 0o777]).toEqual([8 << 20, 0o600]);
  });

  test('a volume cannot be mapped', async () => {
    expect(await refusalOf(loadDisk(config({ mapperName: 'x' }), folder))).toBe('DISK');
  });

  test('a folder is no disk, nor is a file without room for a header', async () => {
    expect(await refusalOf(loadDisk(config({ path: folder }), folder))).toBe('DISK');
    const path = join(folder, 'small');
    writeFileSync(path, new Uint8Array(4096));
    expect(await refusalOf(loadDisk(config({ path }), folder))).toBe('DISK');
  });
});
