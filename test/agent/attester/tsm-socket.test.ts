import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { readTsmReport } from '#agent/attester/tsm.js';
import { socketTsm } from '#agent/attester/tsm-socket.js';
import { crypto } from '#crypto';
import { serveTsm } from '#sim/tsm-server.js';
import { InterceptedTsm } from '../../fakes/configfs-tsm.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const reportData = crypto.randomBytes(64);
const options = { privlevel: undefined, randomBytes: (n: number) => crypto.randomBytes(n) };
const endings: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0)) await end();
});

const newPath = () => join(temporaryFolder('tsm'), 's');

/** A simulated guest's configfs-tsm behind a socket. */
async function simulated(interception: InterceptedTsm) {
  const path = newPath();
  const server = await serveTsm(interception.tsm, path);
  const ops = socketTsm(path);
  endings.push(
    () => ops.close(),
    () => server.close(),
  );
  return ops;
}

describe('configfs-tsm behind a socket', () => {
  test('gives the same report as the file system would, to several requests at once', async () => {
    const far = new InterceptedTsm();
    const ops = await simulated(far);
    const here = await readTsmReport(new InterceptedTsm(), reportData, options);
    const there = await Promise.all([1, 2, 3].map(() => readTsmReport(ops, reportData, options)));
    expect(there).toEqual([here, here, here]);
    expect(far.tsm.size).toBe(0);
  });

  test('an errno of the far side has the same meaning here', async () => {
    const ops = await simulated(new InterceptedTsm({}, { privlevelFloor: 2 }));
    const work = readTsmReport(ops, reportData, { ...options, privlevel: 0 });
    await expect(work).rejects.toMatchObject({ code: 'TSM_UNAVAILABLE', field: 'privlevel' });
  });

  test('nobody at the socket is TSM_UNAVAILABLE', async () => {
    const work = readTsmReport(socketTsm(newPath()), reportData, options);
    expect(await refusalOf(work)).toBe('TSM_UNAVAILABLE');
  });

  test.each<[string, (socket: Socket) => void]>([
    ['hangs up', (socket) => socket.destroy()],
    ['hangs up after the request', (s) => s.once('data', () => s.destroy())],
    ['answers garbage', (s) => s.once('data', () => s.write(Buffer.alloc(8)))],
    ['announces a huge frame', (s) => s.once('data', () => s.write(Buffer.alloc(8, 255)))],
  ])('a peer that %s fails the call, and only that', async (_, misbehave) => {
    const path = newPath();
    const hostile: Server = createServer((socket) => {
      socket.on('error', () => {});
      misbehave(socket);
    });
    await new Promise<void>((resolve) => hostile.listen(path, resolve));
    const ops = socketTsm(path);
    const first = readTsmReport(ops, reportData, options);
    expect(await refusalOf(first)).toBe('TSM_UNAVAILABLE');
    await new Promise((resolve) => hostile.close(resolve));
    const server = await serveTsm(new InterceptedTsm().tsm, path);
    endings.push(
      () => ops.close(),
      () => server.close(),
    );
    expect((await readTsmReport(ops, reportData, options)).provider).toBe('sev_guest');
  });

  test('closing fails the call that waits', async () => {
    const path = newPath();
    const silent = createServer((socket) => socket.once('data', () => ops.close()));
    endings.push(() => silent.close());
    await new Promise<void>((resolve) => silent.listen(path, resolve));
    const ops = socketTsm(path);
    expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_UNAVAILABLE');
  });
});
