import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { openDiskFile } from '#agent/disk/disk-file.js';
import { VolumeDisk } from '#agent/disk/volume.js';
import { crypto } from '#crypto';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { guestClient } from '#server/cvm-platform/guests/client.js';
import { serveTsm, type TsmServer } from '#sim/tsm-server.js';
import { InterceptedTsm } from '../fakes/configfs-tsm.js';
import { SessionServer } from '../fakes/session-server.js';
import { canary, logFile, temporaryFolder } from '../run-folder.js';

// The program as it is built (npm run build), as a process of its own.
const program = fileURLToPath(new URL('../../dist/agent/main.js', import.meta.url));

let server: SessionServer;
let folder: string;
let tsm: TsmServer | undefined;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  server = await SessionServer.start();
  server.keys.onRelease = canary;
});
afterAll(() => server.close());
beforeEach(async () => {
  folder = temporaryFolder('run');
  server.misbehaviour.refuse = undefined;
  server.level = 1;
  await bind(server.configDocument());
});
afterEach(async () => {
  for (const child of running) child.kill('SIGKILL');
  await tsm?.close();
  tsm = undefined;
});

/** A CVM whose hardware binds `configDocument`. */
async function bind(configDocument: Uint8Array, hostData = crypto.hash('sha256', configDocument)) {
  await tsm?.close();
  writeFileSync(join(folder, 'config.cbor'), configDocument);
  tsm = await serveTsm(new InterceptedTsm({ hostData }).tsm, join(folder, 'tsm'));
}

function configFile(change: object = {}): string {
  const path = join(folder, 'agent.yaml');
  const config = {
    key_server_address: `127.0.0.1:${server.port}`,
    config_document_file: 'config.cbor',
    tsm: { socket: 'tsm' },
    guest_socket: 'guest',
    disk: { path: 'disk', backend: 'volume', size_mib: 8 },
    state_dir: 'state',
    allow_persistent_files: 'true',
    retry: { initial_ms: 1, max_ms: 10, deadline_ms: 60_000 },
    ...change,
  };
  writeFileSync(path, stringify(config));
  return path;
}

interface Ended {
  readonly code: number | null;
  readonly log: string;
}

function start(args: readonly string[]) {
  const path = logFile(`agent-${running.size}`);
  const log = openSync(path, 'w');
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', log, log] });
  running.add(child);
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => {
      running.delete(child);
      resolve({ code, log: readFileSync(path, 'utf8') });
    });
  });
  return { child, ended };
}

const once = (change: object = {}) => start(['--config', configFile(change), '--once']).ended;

async function slotSvns() {
  const disk = await VolumeDisk.load(await openDiskFile(join(folder, 'disk'), 0));
  const svns = disk.slots?.map((slot) => slot.token.svn);
  await disk.close();
  return svns;
}

describe('cvmp-agent', () => {
  test('first boot formats, second opens, third re-keys to the level that it proves', async () => {
    const first = await once();
    expect(first).toMatchObject({
      code: 0,
      log: expect.stringContaining('"disk_action":"formatted"'),
    });
    expect(await once()).toMatchObject({ code: 0, log: expect.stringContaining('"opened"') });
    server.level = 3;
    expect(await once()).toMatchObject({ code: 0, log: expect.stringContaining('"rekeyed"') });
    expect(await slotSvns()).toEqual([3]);
    server.level = 2;
    const outdated = await once();
    expect(outdated).toMatchObject({ code: 10, log: expect.stringContaining('SVN_BELOW_FLOOR') });
  });

  test('stays to answer the tenant, and ends when it is told', async () => {
    const { child, ended } = start(['--config', configFile()]);
    while (!existsSync(join(folder, 'guest'))) await new Promise((r) => setImmediate(r));
    const { service, close } = guestClient(() => connect(join(folder, 'guest')), 1 << 20);
    for await (const { phase } of service.guestStatus({})) {
      if (phase === AgentPhase.DELIVERED) break;
    }
    const { evidence } = await service.guestEvidence({ nonce: new Uint8Array(32) });
    expect(evidence!.cmwCollection.length).toBeGreaterThan(1184);
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
    expect(existsSync(join(folder, 'guest'))).toBe(false);
    close();
  });
});
