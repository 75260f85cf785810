import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, readFileSync, realpathSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts } from '#cli/dev/ports.js';
import { logFile } from '../run-folder.js';

// The real program, as npm start runs it, and the commands that it tells people to try.

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const started: ChildProcess[] = [];
let home: string;

beforeAll(async () => {
  // Short, because unix sockets lie below; not the repository, because any folder must do.
  home = realpathSync(await mkdtemp(join(tmpdir(), 'cvmp-t-')));
});
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL');
  await rm(home, { recursive: true, force: true });
});

function cvmp(...argv: string[]): ChildProcess {
  const env = { PATH: process.env.PATH ?? '', HOME: home };
  const child = spawn(process.execPath, [program, ...argv], { cwd: home, env });
  child.stderr?.pipe(createWriteStream(logFile('cvmp-dev'), { flags: 'a' }));
  started.push(child);
  return child;
}

function ended(child: ChildProcess): Promise<number | string | null> {
  return new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
}

/** Runs a command to its end. */
async function run(...argv: string[]) {
  const child = cvmp(...argv, '--json');
  const [code, out] = await Promise.all([ended(child), text(child.stdout!)]);
  return { code, json: JSON.parse(out || 'null') };
}

/** Starts `cvmp dev` and reads what it prints once everything is up. */
async function up(...argv: string[]) {
  const child = cvmp('dev', '--json', ...argv);
  const gone = ended(child);
  let out = '';
  const ready = new Promise<void>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk;
      if (out.endsWith('}\n')) resolve();
    });
  });
  const first = await Promise.race([ready, gone]);
  if (first !== undefined) throw new Error(`cvmp dev ended with ${first}: ${out}`);
  return { child, gone, json: JSON.parse(out) };
}

const servers = (): number[] =>
  JSON.parse(readFileSync(join(home, 'cvmp-data', 'running.json'), 'utf8')).servers;
const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe('cvmp dev', () => {
  test('from nothing to an opened disk, over stop, restart and kill', {
    timeout: 300_000,
  }, async () => {
    const first = await up('--ports', 'auto');
    expect(first.json).toMatchObject({
      key_server: { grpc: expect.stringMatching(/^127\.0\.0\.1:/) },
      tenant: 'demo',
      profile: join(home, 'cvmp-data', 'cvmp.yaml'),
      commands: [
        'npx cvmp feature list',
        'npx cvmp policy set cvmp-data/policy.yaml',
        'npx cvmp cvm create web --image sample-v1 --svn 1 --start',
      ],
    });
    // The next three commands, as they are printed.
    for (const line of first.json.commands as string[]) {
      const wait = line.includes('create') ? ['--wait'] : [];
      const { code } = await run(...line.replace('npx cvmp ', '').split(' '), ...wait);
      expect(code).toBe(0);
    }
    const [key] = (await run('key', 'list')).json.keys;
    expect(key).toMatchObject({ state: 'active', cvm_name: 'web', svn_floor: 1 });

    // Nobody else may run on the same folder.
    const second = await run('dev');
    expect(second).toMatchObject({ code: 1, json: { error: { code: 'STORE_LOCKED' } } });
    expect(second.json.error.message).toContain(`process ${first.child.pid}`);

    // Ctrl-C, which npm passes on a second time: exit code 0, nothing left behind.
    const before = servers();
    first.child.kill('SIGINT');
    first.child.kill('SIGINT');
    expect(await first.gone).toBe(0);
    expect(before.filter(lives)).toEqual([]);
    expect((await run('key', 'list')).json.error.code).toBe('UNAVAILABLE');

    // The same state after a restart; the disk opens with the same key.
    const again = await up();
    expect(again.json.key_server).toEqual(first.json.key_server);
    const opened = await run('cvm', 'start', 'web', '--wait');
    expect(opened.json.cvm.agent).toMatchObject({ disk_action: 'opened', key_id: key.key_id });

    // Killed, it leaves its servers; the next one ends them and goes on.
    const orphans = servers();
    again.child.kill('SIGKILL');
    expect(await again.gone).toBe('SIGKILL');
    const third = await up();
    expect(orphans.filter(lives)).toEqual([]);
    expect((await run('policy', 'list')).json.policies).toMatchObject([{ policy_id: 'sample' }]);
    third.child.kill('SIGTERM');
    expect(await third.gone).toBe(0);
  });

  test('a port that is taken is named, and nothing is made', async () => {
    const ports = await freePorts();
    const taken = createServer();
    await new Promise<void>((resolve) => {
      taken.listen(ports.platform, '127.0.0.1', () => resolve());
    });
    const list = Object.values(ports).join(',');
    const { code, json } = await run('dev', '--data', 'other', '--ports', list);
    taken.close();
    expect(code).toBe(1);
    expect(json.error).toMatchObject({ code: 'CONFIG', field: 'ports' });
    expect(json.error.message).toContain(`port ${ports.platform} on 127.0.0.1 is in use`);
    expect(() => readFileSync(join(home, 'other', 'cvmp.yaml'))).toThrow();
  });

  test('ports of an existing folder do not move', async () => {
    const { code, json } = await run('dev', '--ports', '1,2,3,4');
    expect(code).toBe(1);
    expect(json.error.message).toContain('was made with --ports');
  });
});
