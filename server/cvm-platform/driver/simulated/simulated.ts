import { mkdir, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { CvmpError } from '#core/errors.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import type {
  CvmDefinition,
  HostDriver,
  HostState,
  LaunchPlan,
  SnpTcb,
  TeeCapabilities,
} from '../driver.js';
import { MachineConnection } from './connection.js';
import { encodeDefinition } from './definition.js';
import {
  CvmFolder,
  demandShort,
  readEnded,
  readIdentity,
  readIfThere,
  removeFile,
  writeWhole,
} from './folder.js';
import { writeGuestFiles } from './guest-files.js';
import { openHardware, setTcb } from './hardware.js';
import { launch, vcpuTypes, vmmType } from './launch.js';
import { bury, startMachine, startMsMax } from './machines.js';
import { Places } from './places.js';
import { isAlive, killGroup } from './processes.js';

/** Each start takes a processor for a moment; more at once would only make all of them late. */
const startsMax = 4;
/** A machine that was told to destroy its guest does it at once. */
const destroyMsMax = 5_000;
const pollMs = 20;

export interface SimulatedOptions {
  /** One folder for each CVM. */
  readonly cvmsFolder: string;
  /** For unix sockets; a short path. */
  readonly runFolder: string;
  /** The host's security processor, made by createHardware(). */
  readonly hardwareFolder: string;
  /** TCB of the host; undefined: that of a new chip. */
  readonly tcb: SnpTcb | undefined;
  /** Program of a machine process, cvm/main.js. */
  readonly machineProgram: string;
  /** Program of the Key Agent. */
  readonly agentProgram: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

interface Machine {
  readonly connection: MachineConnection;
  /** Resolves when it has ended and that is written down. */
  readonly settled: Promise<void>;
}

/**
 * A host without hardware: each CVM is a machine process (cvm/machine.ts) with a Key Agent as its
 * guest, on a simulated security processor. Decision 0007 says what is real about it.
 */
export class SimulatedDriver implements HostDriver {
  readonly #options: SimulatedOptions;
  readonly #processor: SecurityProcessor;
  readonly #machines = new Map<string, Machine>();
  readonly #listeners = new Set<(cvmId: string) => void>();
  readonly #starts = new Places(startsMax);
  #closed = false;

  private constructor(options: SimulatedOptions, processor: SecurityProcessor) {
    this.#options = options;
    this.#processor = processor;
  }

  /** Finds the CVMs of the host again, those that run and those that do not. @throws CvmpError CONFIG */
  static async open(options: SimulatedOptions): Promise<SimulatedDriver> {
    const { cvmsFolder, runFolder, hardwareFolder, tcb, now } = options;
    demandShort(runFolder);
    await mkdir(cvmsFolder, { recursive: true, mode: 0o700 });
    await mkdir(runFolder, { recursive: true, mode: 0o700 });
    await setTcb(hardwareFolder, tcb);
    const driver = new SimulatedDriver(options, await openHardware(hardwareFolder, now));
    await Promise.all((await readdir(cvmsFolder)).map((cvmId) => driver.#adopt(cvmId)));
    return driver;
  }

  async capabilities(): Promise<readonly TeeCapabilities[]> {
    const { product, settings } = this.#processor;
    return [
      {
        tee: 'sev-snp',
        simulated: true,
        product,
        snpTcb: settings.tcb,
        // There is no firmware that runs, so nothing could keep such a promise.
        secureBoot: { supported: false, tenantKeys: false, varstoreMeasured: false },
        liveMigration: { supported: false, mechanism: '' },
        firmwareFormats: ['ovmf'],
        biosSettings: [],
        idBlock: true,
        configDigestBytes: 32,
        vmmType,
        vcpuTypes,
      },
    ];
  }

  async plan(definition: Omit<CvmDefinition, 'cvmId'>): Promise<LaunchPlan> {
    return (await launch(this.#processor, definition, { identified: false })).plan;
  }

  async define(definition: CvmDefinition): Promise<void> {
    const { cvmId } = definition;
    if (this.#machines.has(cvmId)) throw new CvmpError('CVM_STATE', `${cvmId} is running`);
    const folder = this.#folder(cvmId);
    await writeGuestFiles(folder, definition);
    const { hardwareFolder, agentProgram } = this.#options;
    const { sockets } = folder;
    const content = { cvm: definition, sockets, hardware: hardwareFolder, agentProgram };
    // Last: where this file is, there is a CVM.
    await writeWhole(folder.definition, encodeDefinition(content));
  }

  async start(cvmId: string): Promise<void> {
    const folder = this.#folder(cvmId);
    if ((await readIfThere(folder.definition)) === undefined) {
      throw new CvmpError('NOT_FOUND', `${cvmId} is not defined`);
    }
    await this.#adopt(cvmId);
    if (this.#machines.has(cvmId)) return;
    await removeFile(folder.ended);
    await this.#starts.take(() => startMachine(this.#options.machineProgram, folder));
    await this.#adopt(cvmId);
  }

  async shutdown(cvmId: string, graceMs: number): Promise<boolean> {
    return this.#end(cvmId, 'shutdown', graceMs);
  }

  async destroy(cvmId: string): Promise<void> {
    if (await this.#end(cvmId, 'destroy', destroyMsMax)) return;
    const identity = readIdentity(this.#folder(cvmId).machineProcess);
    if (identity !== undefined) killGroup(identity);
    await this.#machines.get(cvmId)?.settled;
  }

  async undefine(cvmId: string): Promise<void> {
    await this.destroy(cvmId);
    const folder = this.#folder(cvmId);
    await removeFile(folder.definition);
    await rm(folder.path, { recursive: true, force: true });
    await rm(folder.sockets, { recursive: true, force: true });
  }

  async inspect(cvmId: string): Promise<HostState> {
    if (this.#machines.has(cvmId)) return { run: 'running' };
    const folder = this.#folder(cvmId);
    if ((await readIfThere(folder.definition)) === undefined) return { run: 'absent' };
    return (await readEnded(folder)) ?? { run: 'off' };
  }

  watch(listener: (cvmId: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  guestChannel(cvmId: string): Duplex {
    return connect(this.#folder(cvmId).guestSocket);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const machines = [...this.#machines.values()];
    for (const { connection } of machines) connection.close();
    await Promise.all(machines.map(({ settled }) => settled));
  }

  #folder(cvmId: string): CvmFolder {
    const { cvmsFolder, runFolder } = this.#options;
    return new CvmFolder(join(cvmsFolder, cvmId), join(runFolder, cvmId));
  }

  /** Connects to the CVM's machine where there is one, or clears away what a dead one left. */
  async #adopt(cvmId: string): Promise<void> {
    if (this.#machines.has(cvmId)) return;
    const folder = this.#folder(cvmId);
    const identity = readIdentity(folder.machineProcess);
    if (identity === undefined) return;
    for (let waitedMs = 0; isAlive(identity); waitedMs += pollMs) {
      const connection = await MachineConnection.open(folder.controlSocket).catch(() => undefined);
      if (connection !== undefined) {
        this.#track(cvmId, connection);
        return;
      }
      if (waitedMs > startMsMax) {
        throw new CvmpError('DRIVER', `the machine of ${cvmId} does not answer`);
      }
      await delay(pollMs);
    }
    await bury(folder);
  }

  #track(cvmId: string, connection: MachineConnection): void {
    const settled = connection.over.then(async (ended) => {
      if (this.#closed) return;
      const folder = this.#folder(cvmId);
      // Without a word the machine was killed, and its guest is an orphan.
      if (ended === undefined) await bury(folder);
      this.#machines.delete(cvmId);
      for (const listener of this.#listeners) listener(cvmId);
    });
    this.#machines.set(cvmId, { connection, settled });
  }

  async #end(cvmId: string, how: 'shutdown' | 'destroy', msMax: number): Promise<boolean> {
    const machine = this.#machines.get(cvmId);
    if (machine === undefined) return true;
    machine.connection.ask(how);
    const timer = new AbortController();
    const late = delay(msMax, false, { signal: timer.signal }).catch(() => false);
    const ended = await Promise.race([machine.settled.then(() => true), late]);
    timer.abort();
    return ended;
  }
}
