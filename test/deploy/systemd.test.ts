import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../run-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = join(root, 'deploy/systemd');

/** Exposure that systemd-analyze may find, in tenths: the agent is root and opens disks. */
const units = [
  ['cvmp-key-server.service', 16],
  ['cvmp-platform.service', 16],
  ['cvmp-agent.service', 40],
] as const;

const analyze = spawnSync('systemd-analyze', ['--version']).status === 0;

function lines(unit: string, key: string): string[] {
  const text = readFileSync(join(folder, unit), 'utf8');
  return [...text.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map((match) => match[1]!);
}

describe('units of systemd (deploy/systemd)', () => {
  test.each(units)('%s starts a program of this package', (unit) => {
    const commands = [...lines(unit, 'ExecStart'), ...lines(unit, 'ExecReload')];
    for (const command of commands.filter((text) => text.includes('node '))) {
      const [interpreter, program = ''] = command.split(' ');
      expect(interpreter).toBe('/usr/bin/node');
      expect(existsSync(join(root, program.replace('/usr/lib/cvmp/', '')))).toBe(true);
    }
    expect(commands.length).toBeGreaterThan(0);
  });

  test('the servers are told to stop no sooner than they need by default', () => {
    for (const unit of ['cvmp-key-server.service', 'cvmp-platform.service']) {
      expect(lines(unit, 'Type')).toEqual(['notify']);
      expect(lines(unit, 'TimeoutStopSec')).toEqual(['90s']);
    }
  });

  // The package of Debian is called systemd; a container may lack it.
  describe.skipIf(!analyze)('by systemd-analyze (skipped where systemd is not installed)', () => {
    test.each(units)('%s is a correct unit', (unit) => {
      const copy = join(temporaryFolder('unit'), unit);
      const text = readFileSync(join(folder, unit), 'utf8');
      writeFileSync(copy, text.replaceAll('/usr/bin/node', process.execPath));
      const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', copy], {
        encoding: 'utf8',
      });
      // Units of the machine itself are judged along; only ours matter.
      const ours = `${stdout}${stderr}`.split('\n').filter((line) => line.includes(unit));
      expect({ status, ours }).toEqual({ status: 0, ours: [] });
    });

    test.each(units)('%s is sandboxed: exposure at most %d tenths', (unit, most) => {
      const args = ['security', '--offline=true', '--no-pager', `--threshold=${most}`];
      expect(() => execFileSync('systemd-analyze', [...args, join(folder, unit)])).not.toThrow();
    });
  });
});
