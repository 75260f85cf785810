import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { encode } from '#core/cbor/encode.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type {
  CvmDefinition,
  HostDriver,
  HostState,
  LaunchPlan,
  TeeCapabilities,
} from '#server/cvm-platform/driver/driver.js';

interface FakeCvm {
  definition: CvmDefinition;
  state: HostState;
  /** Counts starts. */
  starts: number;
}

export const fakeCapabilities: TeeCapabilities = {
  tee: 'sev-snp',
  simulated: true,
  product: 'Genoa',
  snpTcb: { fmc: 0, bootloader: 9, tee: 0, snp: 23, microcode: 72 },
  secureBoot: { supported: false, tenantKeys: false, varstoreMeasured: false },
  liveMigration: { supported: false, mechanism: '' },
  firmwareFormats: ['ovmf'],
  biosSettings: [],
  idBlock: true,
  configDigestBytes: 32,
  vmmType: 'QEMU',
  vcpuTypes: ['EPYC-v4', 'EPYC-Genoa'],
};

/** A machine without hardware: it outlives the drivers that are opened on it. */
export class FakeHost {
  readonly cvms = new Map<string, FakeCvm>();
  capabilities: readonly TeeCapabilities[] = [fakeCapabilities];
  /** Guests that do not hear a shutdown. */
  readonly deaf = new Set<string>();
  /** Unix sockets of guests. */
  readonly guestSockets = new Map<string, string>();
  /** Called with every operation before it happens; what it throws is the host's refusal. */
  before: (operation: string, cvmId: string) => void = () => {};
  readonly listeners = new Set<(cvmId: string) => void>();

  /** The guest ends by itself. */
  end(cvmId: string, state: HostState): void {
    this.cvms.get(cvmId)!.state = state;
    for (const listener of this.listeners) listener(cvmId);
  }

  driver(): FakeDriver {
    return new FakeDriver(this);
  }
}

class FakeDriver implements HostDriver {
  readonly #host: FakeHost;
  readonly #watching = new Set<(cvmId: string) => void>();

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async capabilities() {
    return this.#host.capabilities;
  }

  async plan(definition: Omit<CvmDefinition, 'cvmId'>): Promise<LaunchPlan> {
    this.#host.before('plan', '');
    const { image, vcpus, vcpuType, snp } = definition;
    const { firmware, kernel, initrd, cmdline, imageDigest } = image;
    const digests = [firmware.digest, kernel.digest, initrd.digest];
    return {
      imageDigest,
      firmwareDigest: firmware.digest,
      kernelDigest: kernel.digest,
      initrdDigest: initrd.digest,
      cmdline,
      vcpus,
      vcpuType,
      guestFeatures: 1n,
      vmmType: 'QEMU',
      guestPolicy: snp.guestPolicy,
      measurement: crypto.hash('sha384', encode([...digests, cmdline, vcpus, vcpuType])),
    };
  }

  async define(definition: CvmDefinition): Promise<void> {
    this.#host.before('define', definition.cvmId);
    const known = this.#host.cvms.get(definition.cvmId);
    if (known?.state.run === 'running') throw new CvmpError('CVM_STATE', 'it is running');
    const state = known?.state ?? ({ run: 'off' } as const);
    this.#host.cvms.set(definition.cvmId, { definition, state, starts: known?.starts ?? 0 });
  }

  async start(cvmId: string): Promise<void> {
    this.#host.before('start', cvmId);
    const cvm = this.#host.cvms.get(cvmId);
    if (cvm === undefined) throw new CvmpError('NOT_FOUND', 'not defined');
    if (cvm.state.run === 'running') return;
    cvm.state = { run: 'running' };
    cvm.starts++;
  }

  async shutdown(cvmId: string): Promise<boolean> {
    this.#host.before('shutdown', cvmId);
    if (this.#host.deaf.has(cvmId)) return false;
    this.#stop(cvmId);
    return true;
  }

  async destroy(cvmId: string): Promise<void> {
    this.#host.before('destroy', cvmId);
    this.#stop(cvmId);
  }

  async undefine(cvmId: string): Promise<void> {
    this.#host.before('undefine', cvmId);
    this.#host.cvms.delete(cvmId);
  }

  async inspect(cvmId: string): Promise<HostState> {
    return this.#host.cvms.get(cvmId)?.state ?? { run: 'absent' };
  }

  watch(listener: (cvmId: string) => void): () => void {
    this.#host.listeners.add(listener);
    this.#watching.add(listener);
    return () => this.#host.listeners.delete(listener);
  }

  guestChannel(cvmId: string): Duplex {
    const running = this.#host.cvms.get(cvmId)?.state.run === 'running';
    return connect(running ? (this.#host.guestSockets.get(cvmId) ?? '') : '/nonexistent');
  }

  async close(): Promise<void> {
    for (const listener of this.#watching) this.#host.listeners.delete(listener);
  }

  #stop(cvmId: string): void {
    const cvm = this.#host.cvms.get(cvmId);
    if (cvm?.state.run === 'running') cvm.state = { run: 'off' };
  }
}
