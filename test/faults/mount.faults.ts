import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../run-folder.js';
import { worldToJson } from './disk-tasks.js';
import { makeWorld } from './world.js';

// A real file system that is full, and one that is read-only, in a mount namespace of its own.

const mayMount =
  spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;
const why = mayMount ? '' : ' (skipped: this system grants no mount namespace)';

describe.skipIf(!mayMount)(`a file system that is full, then read-only${why}`, () => {
  it('stops the server, loses nothing acknowledged, and serves once it is well', async () => {
    const world = await makeWorld();
    const folder = temporaryFolder('mount');
    const mountPoint = join(folder, 'm');
    const worldFile = join(folder, 'world.json');
    mkdirSync(mountPoint);
    writeFileSync(worldFile, worldToJson(world));
    const program = fileURLToPath(
      new URL('../../dist/test/faults/mount-process.js', import.meta.url),
    );
    const run = spawnSync('unshare', ['-rm', process.execPath, program, mountPoint, worldFile]);
    const report = JSON.parse(String(run.stdout) || `"${run.stderr}"`) as Record<string, unknown>;
    expect(report).toMatchObject({
      full: 'STORE_WRITE',
      missing: [],
      whileReadOnly: 'STORE_ACCESS',
      afterwards: 'done',
      problems: [],
    });
    expect(['STORE_WRITE', 'done']).toContain(report.whileFull);
    expect(report.allocated).toBeGreaterThan(50);
  });
});
