import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { logFile, temporaryFolder } from '../run-folder.js';

const nobody = 65534;

/** Why there can be no libvirt here, or undefined. */
export const libvirtMissing = ['libvirtd', 'virsh', 'qemu-system-x86_64', 'setpriv'].find(
  (program) => !isInstalled(program),
);

export interface Daemon {
  readonly uri: string;
  /** Folder that the daemon and its guests may read and write. */
  readonly folder: string;
  stop(): Promise<void>;
}

/**
 * A libvirt of its own for ordinary users, without rights and without a trace on the machine. Where
 * the tests run as root it runs as nobody, since root's libvirt would be the system's.
 */
export async function startDaemon(): Promise<Daemon> {
  const folder = temporaryFolder('lv');
  const places = ['run', 'config', 'config/libvirt', 'cache', 'data', 'guests'];
  const isRoot = process.geteuid?.() === 0;
  // Folders of other tests stay closed; this one must be reached.
  if (isRoot) chmodSync(dirname(folder), 0o711);
  for (const place of ['.', ...places]) {
    mkdirSync(join(folder, place), { recursive: true });
    chmodSync(join(folder, place), 0o700);
    if (isRoot) chownSync(join(folder, place), nobody, nobody);
  }
  const configuration = join(folder, 'config/libvirt/libvirtd.conf');
  writeFileSync(configuration, `host_uuid = "${randomUUID()}"\n`, { mode: 0o644 });
  const log = openSync(logFile('libvirtd'), 'a');
  const command = isRoot
    ? ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', 'libvirtd']
    : ['libvirtd'];
  const child = spawn(command[0]!, command.slice(1), {
    stdio: ['ignore', log, log],
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      XDG_RUNTIME_DIR: join(folder, 'run'),
      XDG_CONFIG_HOME: join(folder, 'config'),
      XDG_CACHE_HOME: join(folder, 'cache'),
      XDG_DATA_HOME: join(folder, 'data'),
    },
  });
  const socket = join(folder, 'run/libvirt/libvirt-sock');
  await Promise.race([
    listens(socket),
    once(child, 'exit').then(() => {
      throw new Error('libvirtd does not start');
    }),
  ]);
  return {
    uri: `qemu+unix:///session?socket=${socket}`,
    folder,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** Resolves when somebody answers there. */
async function listens(socket: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const watcher = watch(join(dirname(socket), '..'), { recursive: true }, () => check());
    const check = () => {
      if (!existsSync(socket)) return;
      watcher.close();
      resolve();
    };
    check();
  });
  // The file is there a moment before anybody listens.
  while (!(await answers(socket)));
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket, () => {
      connection.destroy();
      resolve(true);
    });
    connection.on('error', () => resolve(false));
  });
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
