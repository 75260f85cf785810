import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createLog } from '#server/host/log.js';
import { createServiceManager } from '#server/host/process/service-manager.js';
import { temporaryFolder } from '../../run-folder.js';
import { KeyServerFolder } from '../key-server/process.js';

describe('sd_notify', () => {
  test('messages leave in their order, one after the other', async () => {
    const sent: string[] = [];
    const manager = createServiceManager(
      { notifySocket: '/run/x', watchdogMicroseconds: undefined },
      createLog('test', 'silent'),
      async (message) => {
        await Promise.resolve();
        sent.push(message.join(' '));
      },
    );
    manager.ready('serving');
    manager.reloading();
    manager.ready('serving');
    manager.stopping();
    await vi.waitFor(() => expect(sent).toHaveLength(4));
    const names = sent.map((message) => message.split('=')[0]);
    expect(names).toEqual(['READY', 'RELOADING', 'READY', 'STOPPING']);
    manager.close();
  });

  test('the watchdog is fed twice in its period', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const sent: string[] = [];
    const manager = createServiceManager(
      { notifySocket: '/run/x', watchdogMicroseconds: '60000000' },
      createLog('test', 'silent'),
      async (message) => void sent.push(...message),
    );
    await vi.advanceTimersByTimeAsync(120_000);
    manager.close();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(sent).toEqual(['WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1']);
  });

  test('nothing is sent where nobody asked; a message that is lost is logged', async () => {
    const sent: string[] = [];
    const nobody = { notifySocket: undefined, watchdogMicroseconds: undefined };
    const silent = createLog('test', 'silent');
    createServiceManager(nobody, silent, async (m) => void sent.push(...m)).ready('serving');
    expect(sent).toEqual([]);
    const lines: string[] = [];
    const log = createLog('test', 'info', { write: (line) => void lines.push(line) });
    const failing = createServiceManager({ ...nobody, notifySocket: '/run/x' }, log, () =>
      Promise.reject(new Error('no such program')),
    );
    failing.ready('serving');
    await vi.waitFor(() => expect(lines.join('')).toContain('service manager not told'));
    failing.close();
  });
});

const receiver = fileURLToPath(new URL('notify-receiver.py', import.meta.url));
const tools = ['systemd-notify', 'python3'].every(
  (tool) => spawnSync(tool, ['--version']).status === 0,
);

// Needs systemd-notify, and python3 for a datagram socket of the file system, which Node lacks.
describe.skipIf(!tools)('a real Key Server under a service manager', () => {
  test('READY when it serves, RELOADING and READY around a reload, STOPPING, WATCHDOG', async () => {
    const socket = join(temporaryFolder('notify'), 's');
    const child = spawn('python3', [receiver, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill());
    let got = '';
    child.stdout.on('data', (chunk) => {
      got += chunk;
    });
    await once(child.stdout, 'data');
    const folder = await KeyServerFolder.initialised();
    const server = await folder.serve({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: '400000' });
    const messages = () =>
      got.split('\n').filter((line) => /^(READY|RELOADING|STOPPING)=/.test(line));
    const until = { timeout: 60_000 };
    await vi.waitFor(() => expect(messages()).toEqual(['READY=1']), until);
    expect((await folder.run('reload')).code).toBe(0);
    const reloaded = ['READY=1', 'RELOADING=1', 'READY=1'];
    await vi.waitFor(() => expect(messages()).toEqual(reloaded), until);
    await vi.waitFor(() => expect(got).toContain('WATCHDOG=1'), until);
    expect(await server.end('SIGTERM')).toBe(0);
    await vi.waitFor(() => expect(messages()).toEqual([...reloaded, 'STOPPING=1']), until);
  });
});
