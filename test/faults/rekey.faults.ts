import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { realpathSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cryptsetup } from '#agent/disk/cryptsetup.js';
import { openDiskFile } from '#agent/disk/disk-file.js';
import { LuksDisk } from '#agent/disk/luks.js';
import { VolumeDisk } from '#agent/disk/volume.js';
import type { KeySession } from '#agent/session/key-session.js';
import { TestCvm } from '../agent/cvm.js';
import { CrashWorld, type Death } from '../agent/provision/crashes.js';
import { realSession } from '../fakes/real-session.js';
import { SessionServer } from '../fakes/session-server.js';
import { logFile, temporaryFolder } from '../run-folder.js';
import { orderOn } from '../server/key-server/lifecycle/orders.js';
import { MemoryPlace } from '../server/key-server/memory-place.js';
import { grantOf, signingKey, withTenant } from '../server/key-server/state.js';

const cryptsetup = new Cryptsetup();
const installed = await cryptsetup.isInstalled();

describe.skipIf(!installed)('a re-key of a LUKS2 disk, ended anywhere (I7)', () => {
  const stateDir = temporaryFolder('rekey-luks');
  let world: CrashWorld;
  let counts: Readonly<Record<Death['at'], number>>;
  beforeAll(async () => {
    world = await CrashWorld.make((file) =>
      LuksDisk.load(file, { stateDir, mapperName: undefined, cryptsetup }),
    );
    counts = await world.count();
  });

  it.each([
    ['request', ['before', 'after']],
    ['write', ['before', 'half', 'after']],
    ['commit', ['before', 'after']],
  ] as const)('at each %s', { timeout: 10 * 60_000 }, async (at, whens) => {
    for (let count = 1; count <= counts[at]; count++) {
      for (const when of whens) {
        const life = world.begin();
        await life.boot({ at, count, when });
        await life.expectOpens();
        await life.boot();
        await life.expectDone();
      }
    }
  });
});

const program = fileURLToPath(new URL('../../dist/agent/main.js', import.meta.url));
const preload = new URL('../../dist/test/faults/kill-at-write.js', import.meta.url).href;

/** A machine, the real agent program in it, and a real Key Server's decisions. */
class KilledAgent {
  readonly cvm = new TestCvm();
  readonly #server: SessionServer;
  readonly #backend: 'volume' | 'luks';
  #starts = 0;
  keyId: Uint8Array = new Uint8Array();

  constructor(server: SessionServer, backend: 'volume' | 'luks') {
    this.#server = server;
    this.#backend = backend;
  }

  /** The first boot, at level 1; then the tenant rotates the key. */
  async prepare(): Promise<void> {
    const place = await MemoryPlace.make();
    const state = await place.open();
    const policy = await withTenant(state);
    const tenantKey = await signingKey();
    const server = this.#server;
    server.keys.session = (level) => realSession(state, grantOf(policy, level), tenantKey);
    await this.cvm.launch(server.configDocument());
    server.level = 1;
    expect(await this.run()).toMatchObject({ code: 0 });
    const [key] = (await state.keys.list('acme', { pageSize: 1, pageToken: '' })).items;
    this.keyId = key!.keyId;
    await state.keyAdmin.rotate({ ...orderOn(this.keyId), agentsRetireEpochs: true });
    server.level = 3;
  }

  /** Runs the program to its end. @param kill at which write to the disk it is killed */
  async run(kill = '0'): Promise<{ readonly code: number | null; readonly log: string }> {
    const disk = { path: 'disk', backend: this.#backend, size_mib: 8 };
    writeFileSync(this.cvm.path('agent.yaml'), this.cvm.config(this.#server, { disk }));
    const args = ['--import', preload, program, '--config', this.cvm.path('agent.yaml'), '--once'];
    const folder = realpathSync(this.cvm.folder);
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, CVMP_KILL: kill, CVMP_KILL_DISK: `${folder}/disk` },
    });
    this.child = child;
    let log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        log += chunk.toString();
      });
    }
    const [code] = (await once(child, 'close')) as [number | null];
    writeFileSync(logFile(`killed-agent-${process.pid}-${++this.#starts}`), log);
    return { code, log };
  }

  child: ReturnType<typeof spawn> | undefined;

  /** Kills the program at its request number `at`. @param when before or after it took effect */
  killAtRequest(at: number, when: 'before' | 'after'): void {
    const { session } = this.#server.keys;
    let requests = 0;
    const around = async <T>(work: () => Promise<T>): Promise<T> => {
      requests += 1;
      if (requests === at && when === 'before') this.child!.kill('SIGKILL');
      const result = requests === at && when === 'before' ? undefined : await work();
      if (requests === at && when === 'after') this.child!.kill('SIGKILL');
      // Nobody waits for the answer any more.
      return requests === at ? new Promise<T>(() => {}) : (result as T);
    };
    this.#server.keys.session = (level): KeySession => {
      const inner = session(level);
      return {
        ...inner,
        alloc: (...args) => around(() => inner.alloc(...args)),
        acquire: (...args) => around(() => inner.acquire(...args)),
        update: (...args) => around(() => inner.update(...args)),
        confirm: (...args) => around(() => inner.confirm(...args)),
      };
    };
  }

  /** One slot, of SVN 3 and epoch 2. */
  async expectDone(): Promise<void> {
    const file = await openDiskFile(this.cvm.path('disk'), 8 << 20);
    const stateDir = this.cvm.path('check');
    const disk =
      this.#backend === 'luks'
        ? await LuksDisk.load(file, { stateDir, mapperName: undefined, cryptsetup })
        : await VolumeDisk.load(file);
    const tokens = disk.slots?.map(({ token }) => token);
    await disk.close();
    expect(tokens).toEqual([{ keyId: this.keyId, svn: 3, epoch: 2 }]);
  }

  /** Boots it again, undisturbed: the disk opens, and the re-key comes to its end. */
  async expectRecovers(): Promise<void> {
    const { code, log } = await this.run();
    expect(log).toContain('"disk_action":"opened"');
    expect(code).toBe(0);
    await this.expectDone();
    await this.cvm.stop();
  }
}

const backends = installed ? (['volume', 'luks'] as const) : (['volume'] as const);

const minutes = 10 * 60_000;

describe.each(backends)('a real agent is killed amid a re-key: %s', (backend) => {
  let server: SessionServer;
  beforeAll(async () => {
    server = await SessionServer.start();
  });
  afterAll(() => server.close());

  async function prepared(): Promise<KilledAgent> {
    const agent = new KilledAgent(server, backend);
    await agent.prepare();
    return agent;
  }

  it('at each write to its disk: before it, in its middle, after it', {
    timeout: minutes,
  }, async () => {
    const undisturbed = await prepared();
    const { code, log } = await undisturbed.run();
    expect(code).toBe(0);
    await undisturbed.expectDone();
    const writes = Number(/disk writes: (\d+)/.exec(log)?.[1]);
    expect(writes).toBeGreaterThanOrEqual(2);
    for (let at = 1; at <= writes; at++) {
      for (const when of ['before', 'half', 'after']) {
        const agent = await prepared();
        expect(await agent.run(`${at}:${when}`)).toMatchObject({ code: null });
        await agent.expectRecovers();
      }
    }
  });

  it('at each request: before it took effect, and after', { timeout: minutes }, async () => {
    for (let at = 1; at <= 6; at++) {
      for (const when of ['before', 'after'] as const) {
        const agent = await prepared();
        const { session } = server.keys;
        agent.killAtRequest(at, when);
        expect(await agent.run()).toMatchObject({ code: null });
        server.keys.session = session;
        await agent.expectRecovers();
      }
    }
  });
});
