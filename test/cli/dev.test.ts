import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { devLayout, socketFolder } from '#cli/dev/layout.js';
import { freePorts, requireFree, typedPorts } from '#cli/dev/ports.js';
import { claim, record, release } from '#cli/dev/running.js';
import { refusalOf } from '../refusal.js';
import { temporaryFolder } from '../run-folder.js';

describe('ports', () => {
  test('four different numbers, or auto', async () => {
    expect(typedPorts('1,2,3,4')).toEqual({
      keyServer: 1,
      keyServerWeb: 2,
      platform: 3,
      platformWeb: 4,
    });
    expect(new Set(Object.values(await freePorts())).size).toBe(4);
    expect(typedPorts('auto')).toBe('auto');
    for (const wrong of ['', '1', '1,2,3', '1,2,3,3', '0,1,2,3', '1,2,3,65536', 'a,b,c,d']) {
      expect(await refusalOf(() => typedPorts(wrong))).toBe('USAGE');
    }
  });

  test('a port that somebody uses is named', async () => {
    const ports = await freePorts();
    await requireFree(ports);
    const server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(ports.platform, '127.0.0.1', () => resolve());
    });
    const refused = requireFree(ports);
    await expect(refused).rejects.toMatchObject({ code: 'CONFIG', field: 'ports' });
    await expect(refused).rejects.toThrow(`port ${ports.platform} on 127.0.0.1 is in use`);
    server.close();
  });
});

describe('a data folder', () => {
  test('is for one cvmp dev at a time', async () => {
    const file = join(temporaryFolder('dev'), 'running.json');
    await claim(file, 'data');
    await record(file, [process.pid]);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
      pid: process.pid,
      servers: [process.pid],
    });
    await release(file);
    expect(existsSync(file)).toBe(false);
    await claim(file, 'data');
  });

  test('of a cvmp dev that was killed is taken over, its servers ended', async () => {
    // Stands for a server: a process of a main.js that lives until it is told to end.
    const script = join(temporaryFolder('dev'), 'main.js');
    writeFileSync(script, 'process.stdin.resume(); process.stdout.write("up");');
    const server = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => {
      server.on('exit', (_, signal) => resolve(signal));
    });
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const file = join(temporaryFolder('dev'), 'running.json');
    writeFileSync(file, JSON.stringify({ pid: 2 ** 22 - 1, servers: [server.pid] }));
    await claim(file, 'data');
    expect(await ended).toBe('SIGTERM');
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ pid: process.pid });
  });

  test('one whose file was cut off in writing is taken over', async () => {
    const file = join(temporaryFolder('dev'), 'running.json');
    writeFileSync(file, '{"pid":');
    await claim(file, 'data');
  });

  test('has its sockets where their paths are short enough', () => {
    expect(socketFolder('/srv/cvmp-data')).toBe('/srv/cvmp-data/platform/run');
    const long = socketFolder(`/${'a'.repeat(80)}`);
    expect(long.length).toBeLessThan(60);
    expect(long).not.toBe(socketFolder(`/${'b'.repeat(80)}`));
    expect(devLayout('/d').profile).toBe('/d/cvmp.yaml');
  });
});
