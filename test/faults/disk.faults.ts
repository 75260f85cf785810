import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../run-folder.js';
import { type Report, type Task, worldToJson } from './disk-tasks.js';
import type { World } from './operations.js';
import { makeWorld } from './world.js';

// The calls by which LevelDB and Node change files are caught by a preloaded library (disk-shim.c), in
// a process of its own: every step of every operation and of the opening before it.

const folder = fileURLToPath(new URL('.', import.meta.url));
const compiler = spawnSync('cc', ['--version']).status === 0;
const isLinux = process.platform === 'linux';

let world: World;
let shim: string;
beforeAll(async () => {
  world = await makeWorld();
});

/** The process with the shim, and how many steps an undisturbed run has. */
class Disk {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  steps = 0;

  constructor(name: string) {
    const files = temporaryFolder(name);
    const control = join(files, 'control');
    writeFileSync(control, Buffer.alloc(8192));
    const worldFile = join(files, 'world.json');
    writeFileSync(worldFile, worldToJson(world));
    const program = join(folder, '../../dist/test/faults/disk-process.js');
    this.child = spawn(process.execPath, [program, control, files, worldFile], {
      env: { PATH: process.env.PATH, LD_PRELOAD: shim, CVMP_DISK_CONTROL: control },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  async start(): Promise<this> {
    this.steps = (JSON.parse(String((await this.#lines.next()).value)) as { steps: number }).steps;
    return this;
  }

  async report(task: Task): Promise<Report> {
    this.child.stdin!.write(`${JSON.stringify(task)}\n`);
    return JSON.parse(String((await this.#lines.next()).value)) as Report;
  }

  async end(): Promise<void> {
    this.child.stdin!.end();
    await once(this.child, 'exit');
  }
}

function compile(): void {
  shim = join(temporaryFolder('shim'), 'disk-shim.so');
  const flags = ['-O1', '-fno-builtin', '-shared', '-fPIC', '-o', shim];
  const made = spawnSync('cc', [...flags, join(folder, 'disk-shim.c'), '-ldl']);
  if (made.status !== 0) throw new Error(String(made.stderr));
}

describe.skipIf(!compiler || !isLinux)(
  compiler ? 'a disk that misbehaves under the real LevelDB' : 'skipped: there is no C compiler',
  () => {
    let disk: Disk;
    beforeAll(async () => {
      compile();
      disk = await new Disk('disk').start();
    });
    afterAll(() => disk.end());

    // Where the process is dead, what it would have done next says nothing.
    const dead = ['all answered', 'STORE_WRITE', 'STORE_CORRUPT', 'KEY_DESTROYED'];
    it.each<[Task['kind'], points: number, ends: readonly string[]]>([
      ['lost', 40, dead],
      ['torn', 40, dead],
      ['full', 15, ['all answered', 'STORE_WRITE']],
      ['frozen', 15, ['all answered', 'STORE_WRITE', 'STORE_ACCESS']],
      ['unsync', 15, ['all answered', 'STORE_WRITE']],
    ])(
      '%s, from steps spread over all: what was answered is there, nothing is half done',
      async (kind, points, ends) => {
        expect(disk.steps).toBeGreaterThan(50);
        const stride = Math.max(1, Math.floor(disk.steps / points));
        const found: Report[] = [];
        for (let at = 1; at <= disk.steps; at += stride) {
          const report = await disk.report({ kind, at });
          if (kind === 'unsync' && report.end === 'all answered') break;
          found.push(report);
        }
        const wrong = found.filter(
          ({ reopened, problems, end }) =>
            reopened !== 'served' || problems.length > 0 || !ends.includes(end),
        );
        expect(wrong).toEqual([]);
      },
    );
  },
);
