import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { CvmpError } from '#core/errors.js';
import { SimulatedTsm } from '#sim/tsm.js';
import { serveTsm } from '#sim/tsm-server.js';
import { type ControlRequest, onLines, sendLine } from '../control.js';
import { decodeDefinition } from '../definition.js';
import { CvmFolder, type Ended, removeFile, writeWhole } from '../folder.js';
import { openHardware } from '../hardware.js';
import { launch } from '../launch.js';
import { identify } from '../processes.js';

/** Where the agent finds cryptsetup; nothing else of the host's environment reaches the guest. */
const guestPath = '/usr/sbin:/usr/bin:/sbin:/bin';
/** Of what the guest wrote last, for people. */
const lastWordsMax = 200;

/** What others may ask of a machine that runs. */
export interface MachineControls {
  /** Asks the guest to end. */
  shutdown(): void;
  /** Ends the guest without asking. */
  destroy(): void;
}

/**
 * One simulated CVM: the machine around a guest, as QEMU is for a real one. It launches the guest by
 * the host's security processor, serves the guest's configfs-tsm, and runs the guest, which is a
 * Key Agent in a process of its own. It does not need the platform, which finds it again by its
 * control socket.
 * @param path folder of the CVM
 * @param started called when the guest runs
 * @returns when the guest has ended and everything is cleared away
 * @throws CvmpError CVM_STATE where this CVM runs already, LAUNCH_REFUSED, DRIVER
 */
export async function runMachine(
  path: string,
  now: () => number,
  started: (controls: MachineControls) => void,
): Promise<void> {
  const definition = decodeDefinition(await readFile(`${path}/definition`));
  const folder = new CvmFolder(path, definition.sockets);
  await claim(folder);
  await rm(folder.sockets, { recursive: true, force: true });
  await mkdir(folder.sockets, { recursive: true, mode: 0o700 });
  const undo: (() => Promise<unknown>)[] = [
    () => removeFile(folder.machineProcess),
    () => rm(folder.sockets, { recursive: true, force: true }),
  ];
  try {
    const processor = await openHardware(definition.hardware, now);
    const { guest } = await launch(processor, definition.cvm, { identified: true });
    const tsm = await serveTsm(new SimulatedTsm(guest), folder.tsmSocket);
    undo.push(() => tsm.close());
    const control = await Control.listen(folder.controlSocket);
    // The driver takes the end of its connection for the end of the machine: so it comes last.
    undo.unshift(() => control.close());
    const agent = await startAgent(folder, definition.agentProgram);
    control.obey(agent);
    started(agent);
    const ended = await agent.ended;
    await writeWhole(folder.ended, JSON.stringify(ended));
    control.tell(ended);
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

/** One machine for each CVM: whoever makes this file first. @throws CvmpError CVM_STATE */
async function claim(folder: CvmFolder): Promise<void> {
  try {
    const identity = JSON.stringify(identify(process.pid));
    await writeFile(folder.machineProcess, identity, { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new CvmpError('CVM_STATE', 'the CVM has a machine already', { cause });
  }
}

/** The guest's one process and what it started. */
class Agent implements MachineControls {
  /** How it ended. */
  readonly ended: Promise<Ended>;
  readonly #pid: number;
  #asked = false;

  constructor(child: ChildProcess, pid: number, console: string) {
    this.#pid = pid;
    this.ended = once(child, 'exit').then(async ([code, signal]) => {
      // What the agent started does not outlive it.
      this.#killAll();
      if (this.#asked || code === 0) return { run: 'off' };
      const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
      return { run: 'crashed', reason: `the guest ended ${how}${await lastWords(console)}` };
    });
  }

  shutdown(): void {
    this.#asked = true;
    this.#kill(this.#pid, 'SIGTERM');
  }

  destroy(): void {
    this.#asked = true;
    this.#killAll();
  }

  #killAll(): void {
    this.#kill(-this.#pid, 'SIGKILL');
  }

  #kill(target: number, signal: NodeJS.Signals): void {
    try {
      process.kill(target, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** @throws CvmpError DRIVER */
async function startAgent(folder: CvmFolder, program: string): Promise<Agent> {
  const console = await open(folder.console, 'a', 0o600);
  try {
    const child = spawn(process.execPath, [program, '--config', folder.agentConfig], {
      cwd: folder.path,
      env: { PATH: guestPath },
      stdio: ['ignore', console.fd, console.fd],
      detached: true,
    });
    if (child.pid === undefined) await once(child, 'spawn');
    const agent = new Agent(child, child.pid!, folder.console);
    const identity = JSON.stringify(identify(child.pid!) ?? null);
    await writeWhole(folder.agentProcess, identity).catch((error) => {
      agent.destroy();
      throw error;
    });
    return agent;
  } catch (cause) {
    throw new CvmpError('DRIVER', 'the guest could not be started', { cause });
  } finally {
    await console.close();
  }
}

/** The end of what the guest wrote: where it failed, why. */
async function lastWords(console: string): Promise<string> {
  const written = await readFile(console, 'utf8').catch(() => '');
  const lines = written.split('\n').filter((line) => line.trim() !== '');
  const words = reasonIn(lines.at(-1) ?? '')
    .replace(/[^\x20-\x7e]/g, '')
    .slice(0, lastWordsMax);
  return words === '' ? '' : `: ${words}`;
}

/** Code and reason of a line of the Key Agent's log; any other line as it is. */
function reasonIn(line: string): string {
  try {
    const { code, reason } = JSON.parse(line) as { code?: unknown; reason?: unknown };
    return typeof code === 'string' ? [code, reason ?? ''].join(' ').trim() : line;
  } catch {
    return line;
  }
}

/** The control socket of a machine. */
class Control {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #controls: MachineControls | undefined;

  private constructor() {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      onLines(socket, (message) => {
        const { do: what } = message as Partial<ControlRequest>;
        if (what === 'shutdown') this.#controls?.shutdown();
        if (what === 'destroy') this.#controls?.destroy();
      });
    });
  }

  static async listen(path: string): Promise<Control> {
    const control = new Control();
    control.#server.listen(path);
    await once(control.#server, 'listening');
    return control;
  }

  obey(controls: MachineControls): void {
    this.#controls = controls;
  }

  tell(ended: Ended): void {
    for (const socket of this.#sockets) sendLine(socket, { ended });
  }

  /** Ends every connection after what it was told. */
  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.end();
    await closed;
  }
}
