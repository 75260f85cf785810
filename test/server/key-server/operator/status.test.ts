import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KeyServerFolder } from '../process.js';

describe('cvmp-key-server status (issue 4: operable)', () => {
  test('asks the running server over its socket; where none runs it says so', async () => {
    const folder = await KeyServerFolder.initialised();
    const before = await folder.run('status');
    expect(before.code).toBe(1);
    expect(before.stderr).toContain(`no server answers on ${join(folder.path, 'operator.sock')}`);
    const server = await folder.serve();
    expect(statSync(join(folder.path, 'operator.sock')).mode & 0o777).toBe(0o600);
    const { code, stdout } = await folder.run('status');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^state: serving\nmaster key: file\nstarted: 20\d\d-/);
    await server.end('SIGTERM');
  });
});
