import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { guestClient } from '#server/cvm-platform/guests/client.js';
import { SessionServer } from '../fakes/session-server.js';
import { canary, logFile } from '../run-folder.js';
import { TestCvm } from './cvm.js';

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

function start(args: readonly string[]) {
  const path = logFile(`agent-${++starts}`);
  const log = openSync(path, 'w');
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', log, log] });
  running.add(child);
  const ended = new Promise<{ readonly code: number | null; readonly log: string }>((resolve) => {
    child.on('close', (code) => {
      running.delete(child);
      resolve({ code, log: readFileSync(path, 'utf8') });
    });
  });
  return { child, ended };
}

function configFile(change: object = {}): string {
  const path = cvm.path('agent.yaml');
  writeFileSync(path, cvm.config(server, change));
  return path;
}

/** Resolves when the agent serves its guest socket. */
async function listening(child: ChildProcess): Promise<void> {
  while (!existsSync(cvm.path('guest'))) {
    if (child.exitCode !== null) throw new Error(`the agent ended with ${child.exitCode}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('cvmp-agent as a process', () => {
  test('delivers, answers the tenant, and ends when it is told', async () => {
    const { child, ended } = start(['--config', configFile()]);
    await listening(child);
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
      const { child, ended } = start(['--config', configFile({ retry })]);
      await listening(child);
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
