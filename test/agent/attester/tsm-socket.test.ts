import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { readTsmReport } from '#agent/attester/tsm.js';
import { socketTsm } from '#agent/attester/tsm-socket.js';
import { crypto } from '#crypto';
import {
  decodeTsmRequest,
  encodeTsmResponse,
  TsmFrames,
  type TsmRequest,
  type TsmResponse,
} from '#wire/tsm.js';
import { FakeConfigfsTsm } from '../../fakes/configfs-tsm.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const reportData = crypto.randomBytes(64);
const options = { privlevel: undefined, randomBytes: (n: number) => crypto.randomBytes(n) };
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Listens on a socket of its own and gives its path. */
async function serve(onConnection: (socket: Socket) => void): Promise<string> {
  const path = join(temporaryFolder('tsm'), 's');
  const server = createServer(onConnection);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

async function answer(tsm: FakeConfigfsTsm, request: TsmRequest): Promise<TsmResponse> {
  const { operation, path, data } = request;
  if (operation === 'read') return { data: await tsm.readFile(path) };
  if (operation === 'write') await tsm.writeFile(path, data);
  else await tsm[operation](path);
  return { data: new Uint8Array(0) };
}

/** Answers every request by the fake configfs. */
function answering(tsm: FakeConfigfsTsm) {
  return (socket: Socket) => {
    const frames = new TsmFrames();
    socket.on('data', async (chunk: Buffer) => {
      for (const body of frames.push(chunk)) {
        const response: TsmResponse = await answer(tsm, decodeTsmRequest(body)).catch((error) => ({
          errno: (error as NodeJS.ErrnoException).code!,
        }));
        socket.write(encodeTsmResponse(response));
      }
    });
  };
}

describe('configfs-tsm behind a socket', () => {
  test('gives the same report as the file system would', async () => {
    const tsm = new FakeConfigfsTsm();
    const ops = socketTsm(await serve(answering(tsm)));
    const reports = await Promise.all([1, 2].map(() => readTsmReport(ops, reportData, options)));
    expect(reports[0]).toEqual(await readTsmReport(new FakeConfigfsTsm(), reportData, options));
    expect(reports[1]).toEqual(reports[0]);
    expect(tsm.folders.size).toBe(0);
    ops.close();
  });

  test('an errno of the far side has the same meaning here', async () => {
    const ops = socketTsm(await serve(answering(new FakeConfigfsTsm({ privlevelFloor: 2 }))));
    const work = readTsmReport(ops, reportData, { ...options, privlevel: 0 });
    await expect(work).rejects.toMatchObject({ code: 'TSM_UNAVAILABLE', field: 'privlevel' });
    ops.close();
  });

  test('nobody at the socket is TSM_UNAVAILABLE', async () => {
    const ops = socketTsm(join(temporaryFolder('tsm'), 'none'));
    expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_UNAVAILABLE');
  });

  test.each<[string, (socket: Socket) => void]>([
    ['hangs up', (socket) => socket.destroy()],
    ['hangs up after the request', (s) => s.once('data', () => s.destroy())],
    ['answers garbage', (s) => s.once('data', () => s.write(Buffer.alloc(8)))],
    ['announces a huge frame', (s) => s.once('data', () => s.write(Buffer.alloc(8, 255)))],
  ])('a peer that %s fails the call, and only that', async (_, misbehave) => {
    let connections = 0;
    const good = answering(new FakeConfigfsTsm());
    const path = await serve((socket) => {
      socket.on('error', () => {});
      connections += 1;
      if (connections === 1) misbehave(socket);
      else good(socket);
    });
    const ops = socketTsm(path);
    expect(await refusalOf(readTsmReport(ops, reportData, options))).toBe('TSM_UNAVAILABLE');
    expect((await readTsmReport(ops, reportData, options)).provider).toBe('sev_guest');
    ops.close();
  });
});
