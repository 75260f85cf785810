import { spawnSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { OperatorService } from '#gen/cvmp/v1/operator_pb.js';
import { type BoundService, bindService } from '#server/host/handlers.js';
import { listenLocal } from '#server/host/local-socket.js';
import { createLog } from '#server/host/log.js';
import { callOperator } from '#server/key-server/operator/client.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const path = () => join(temporaryFolder('socket'), 'operator.sock');

/** Answers its caller's role as the reason, or fails. */
function service(failure?: CvmpError): BoundService {
  const handler = async (_: unknown, { caller }: { caller: { role: string } }) => {
    if (failure !== undefined) throw failure;
    return { reason: caller.role };
  };
  const names = Object.keys(OperatorService.method);
  const handlers = Object.fromEntries(names.map((name) => [name, handler]));
  return bindService(OperatorService, handlers as never);
}

async function serve(at: string, bound = service(), log: string[] = []) {
  const sink = new Writable({
    write(chunk, _encoding, done) {
      log.push(chunk.toString());
      done();
    },
  });
  const socket = await listenLocal({
    path: at,
    services: [bound],
    log: createLog('test', 'info', sink),
    now: Date.now,
    unarySecondsMax: 5,
  });
  onTestFinished(() => socket.close());
  return socket;
}

const status = (at: string) => callOperator(at, (client) => client.serverStatus({}));

describe('the local operator socket', () => {
  test('is open to its own user alone, and its callers need no token', async () => {
    const at = path();
    await serve(at);
    expect(statSync(at).mode & 0o777).toBe(0o600);
    expect((await status(at)).reason).toBe('local');
  });

  test('gives a refusal as code, message and field, and one log line', async () => {
    const at = path();
    const log: string[] = [];
    await serve(at, service(new CvmpError('QUOTA', 'too many', { field: 'x' })), log);
    await expect(status(at)).rejects.toMatchObject({
      code: 'QUOTA',
      message: 'too many',
      field: 'x',
    });
    expect(log.map((line) => JSON.parse(line)).at(-1)).toMatchObject({
      code: 'QUOTA',
      method: 'cvmp.v1.OperatorService/ServerStatus',
      peer: 'local',
      role: 'local',
    });
  });

  test('where no server runs, the client says so', async () => {
    expect(await refusalOf(() => status(path()))).toBe('UNAVAILABLE');
  });

  test('a socket that a killed server left behind is replaced', async () => {
    const at = path();
    const listen = `require('node:net').createServer().listen(${JSON.stringify(at)}, () => {
      process.kill(process.pid, 'SIGKILL');
    })`;
    spawnSync(process.execPath, ['-e', listen]);
    expect(statSync(at).isSocket()).toBe(true);
    await serve(at);
    expect((await status(at)).reason).toBe('local');
  });

  test('a file, or the socket of a live server, is refused by name', async () => {
    const file = path();
    writeFileSync(file, 'mine');
    await expect(serve(file)).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('is not a socket'),
    });
    const at = path();
    await serve(at);
    await expect(serve(at)).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('another process'),
    });
    expect((await status(at)).reason).toBe('local');
  });

  test('a path that no socket can have is refused before anything is made', async () => {
    const long = join(temporaryFolder('socket'), 'x'.repeat(108));
    expect(await refusalOf(() => serve(long))).toBe('CONFIG');
  });

  test('closing removes it', async () => {
    const at = path();
    await (await serve(at)).close();
    expect(existsSync(at)).toBe(false);
  });
});
