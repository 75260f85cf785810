import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { rekeySteps } from '#agent/provision/rekey.js';
import { CvmpError } from '#core/errors.js';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { guestClient } from '#server/cvm-platform/guests/client.js';
import { SessionServer } from '../fakes/session-server.js';
import { canary, logFile } from '../run-folder.js';
import { runHere, TestCvm } from './cvm.js';

// The program as it is built (npm run build), as a process of its own.
const program = fileURLToPath(new URL('../../dist/agent/main.js', import.meta.url));

let server: SessionServer;
let cvm: TestCvm;
let starts = 0;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  server = await SessionServer.start();
  server.keys.onRelease = canary;
});
afterAll(() => server.close());
beforeEach(async () => {
  cvm = new TestCvm();
  server.level = 1;
  await cvm.launch(server.configDocument());
});
afterEach(async () => {
  for (const child of running) child.kill('SIGKILL');
  await cvm.stop();
});

/** Starts the program; what it says is kept, and searched for secrets at the end of the run. */
function start(args: readonly string[]) {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const path = logFile(`agent-${++starts}`);
  let log = '';
  const said = new EventEmitter();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      log += chunk.toString();
      said.emit('more');
    });
  }
  const ended = new Promise<{ readonly code: number | null; readonly log: string }>((resolve) => {
    child.on('close', (code) => {
      running.delete(child);
      writeFileSync(path, log);
      said.emit('more');
      resolve({ code, log });
    });
  });
  /** Resolves when the log holds `text`, or the program has ended. */
  const says = async (text: string) => {
    while (!log.includes(text) && running.has(child)) await once(said, 'more');
  };
  return { child, ended, says };
}

function configFile(change: object = {}): string {
  const path = cvm.path('agent.yaml');
  writeFileSync(path, cvm.config(server, change));
  return path;
}

describe('cvmp-agent as a process', () => {
  test('delivers, answers the tenant, and ends when it is told', async () => {
    const { child, ended, says } = start(['--config', configFile()]);
    // By then it serves its guest socket.
    await says('disk header read');
    const { service, close } = guestClient(() => connect(cvm.path('guest')), 1 << 20);
    for await (const { phase, diskAction } of service.guestStatus({})) {
      if (phase !== AgentPhase.DELIVERED) continue;
      expect(diskAction).toBe('formatted');
      break;
    }
    const { evidence } = await service.guestEvidence({ nonce: new Uint8Array(32) });
    expect(evidence!.agentBuild).toMatch(/^cvmp-agent\/\d/);
    child.kill('SIGTERM');
    const { code, log } = await ended;
    expect(code).toBe(0);
    for (const line of log.trim().split('\n')) {
      expect(JSON.parse(line)).toMatchObject({ name: 'cvmp-agent', msg: expect.any(String) });
    }
    expect(existsSync(cvm.path('guest'))).toBe(false);
    close();
  });

  test('told to end while it waits for the Key Server, ends at once with 17', async () => {
    await server.close();
    try {
      const retry = { initial_ms: 60_000, max_ms: 60_000, deadline_ms: 86_400_000 };
      const { child, ended, says } = start(['--config', configFile({ retry })]);
      await says('disk header read');
      const { service, close } = guestClient(() => connect(cvm.path('guest')), 1 << 20);
      for await (const { phase, code } of service.guestStatus({})) {
        if (phase !== AgentPhase.RETRYING) continue;
        expect(code).toBe('UNAVAILABLE');
        break;
      }
      child.kill('SIGTERM');
      expect((await ended).code).toBe(17);
      close();
    } finally {
      await server.listen();
    }
  });

  test('a refusal ends it with 10, after the last word to who watches', async () => {
    server.misbehaviour.refuse = new CvmpError('POLICY_MEASUREMENT', 'not admitted');
    const { ended } = start(['--config', configFile()]);
    const { code, log } = await ended;
    server.misbehaviour.refuse = undefined;
    expect(code).toBe(10);
    expect(JSON.parse(log.trim().split('\n').at(-1)!)).toMatchObject({
      code: 'POLICY_MEASUREMENT',
      exit_code: 10,
    });
  });

  test('--print-config shows what the file means, and does nothing', async () => {
    const { code, log } = await start(['--config', configFile(), '--print-config']).ended;
    expect(code).toBe(0);
    expect(log).toContain(`config_document_file: ${cvm.path('config.cbor')}`);
    expect(existsSync(cvm.path('disk'))).toBe(false);
  });

  test.each<[string, readonly string[] | (() => readonly string[])]>([
    ['without a config file', []],
    ['with an unknown flag', ['--config', 'x', '--verbose']],
    ['with a config file that is not there', ['--config', '/nonexistent']],
    ['with an unknown entry', () => ['--config', configFile({ colour: 'red' })]],
  ])('%s it ends with 2 and a hint', async (_, args) => {
    const { code, log } = await start(typeof args === 'function' ? args() : args).ended;
    expect(code).toBe(2);
    expect(log).toMatch(/^cvmp-agent: error: .*\n(.*\n)* {2}hint: /);
  });
});

describe('cvmp-agent killed by SIGKILL during a re-key', () => {
  // LUKS where cryptsetup is installed: its child process dies or lives on by itself.
  const disk = { path: 'disk', backend: 'auto', size_mib: 8 };

  test.each(rekeySteps)(
    'when it says "%s": the next boot opens the disk and ends the job',
    async (at) => {
      const boot = async () => {
        const { ended, lines } = runHere(cvm, server, { disk });
        const code = await ended;
        // Nothing but the boot that is killed may fail in any part.
        expect(lines.filter((line) => line.code !== undefined)).toEqual([]);
        return { code, line: lines.find(({ msg }) => msg === 'key obtained') };
      };
      expect((await boot()).code).toBe(0);
      server.level = 3;
      const { child, ended, says } = start(['--config', configFile({ disk }), '--once']);
      await says(`"step":"${at}"`);
      child.kill('SIGKILL');
      await ended;
      expect((await boot()).code).toBe(0);
      const { code, line } = await boot();
      expect(code).toBe(0);
      expect(line).toMatchObject({ svn: 3, svn_floor: 3, disk_action: 'opened' });
    },
  );
});
