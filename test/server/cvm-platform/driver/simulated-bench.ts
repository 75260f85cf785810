import { cpSync, existsSync, readFileSync, watch } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CvmDefinition } from '#server/cvm-platform/driver/driver.js';
import { createHardware } from '#server/cvm-platform/driver/simulated/hardware.js';
import { writeSampleImages } from '#server/cvm-platform/driver/simulated/sample-images.js';
import {
  SimulatedDriver,
  type SimulatedOptions,
} from '#server/cvm-platform/driver/simulated/simulated.js';
import { ImageCatalogue } from '#server/cvm-platform/images.js';
import { temporaryFolder } from '../../../run-folder.js';
import { definitionOf } from '../definitions.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const programs = {
  machineProgram: join(root, 'dist/server/cvm-platform/driver/simulated/cvm/main.js'),
  agentProgram: join(root, 'dist/test/fakes/agent-program.js'),
};

// Its three RSA keys take seconds; one vendor does for all hosts of a test file.
let hardware: Promise<string> | undefined;

async function makeHardware(): Promise<string> {
  const folder = join(temporaryFolder('hw'), 'h');
  await createHardware(folder, 'Genoa', Date.now);
  return folder;
}

/** A simulated host of its own, with the sample images. */
export async function simulatedBench(change: Partial<SimulatedOptions> = {}) {
  hardware ??= makeHardware();
  const folder = temporaryFolder('sim');
  const options: SimulatedOptions = {
    cvmsFolder: join(folder, 'cvms'),
    runFolder: join(folder, 'r'),
    hardwareFolder: join(folder, 'hardware'),
    tcb: undefined,
    ...programs,
    now: Date.now,
    ...change,
  };
  cpSync(await hardware, options.hardwareFolder, { recursive: true });
  await writeSampleImages(join(folder, 'images'));
  const catalogue = await ImageCatalogue.load(join(folder, 'images'), join(folder, 'firmware'));
  const [first, second] = await Promise.all(
    catalogue.list().map((image) => catalogue.launchImage(image)),
  );

  const inCvm = (cvmId: string, ...parts: string[]) => join(options.cvmsFolder, cvmId, ...parts);
  const pidOf = (cvmId: string, file: 'agent.pid' | 'machine.pid'): number =>
    (JSON.parse(readFileSync(inCvm(cvmId, file), 'utf8')) as { pid: number }).pid;

  return {
    options,
    images: join(folder, 'images'),
    inCvm,
    pidOf,
    open: () => SimulatedDriver.open(options),
    definition: (cvmId: string): CvmDefinition => definitionOf(cvmId, first!),
    otherImage: second!,
    async guestReady(cvmId: string): Promise<void> {
      const socket = join(options.runFolder, cvmId, 'guest');
      await appears(socket);
      // The file is there a moment before anybody listens.
      while (!(await answers(socket)));
    },
    /** Kills the guest, and waits until its machine has noticed and gone. */
    async crash(cvmId: string): Promise<void> {
      const gone = disappears(inCvm(cvmId, 'machine.pid'));
      process.kill(pidOf(cvmId, 'agent.pid'), 'SIGKILL');
      await gone;
    },
    async close(): Promise<void> {},
  };
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

/** Resolves when the file is there. */
export function appears(path: string): Promise<void> {
  return changes(path, () => existsSync(path));
}

/** Resolves when the file is gone. */
export function disappears(path: string): Promise<void> {
  return changes(path, () => !existsSync(path));
}

function changes(path: string, done: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(dirname(path), () => check());
    const check = () => {
      if (!done()) return;
      watcher.close();
      resolve();
    };
    check();
  });
}

/** Resolves when the process has ended. */
export async function ends(pid: number): Promise<void> {
  const state = () => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    } catch {
      return 'gone';
    }
  };
  while (!['gone', 'Z', 'X'].includes(state())) {
    await new Promise((resume) => setTimeout(resume, 5));
  }
}
