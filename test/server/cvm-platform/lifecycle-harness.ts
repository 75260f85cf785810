import { pino } from 'pino';
import { crypto } from '#crypto';
import type { HostDriver, LaunchImage } from '#server/cvm-platform/driver/driver.js';
import type { NewCvms } from '#server/cvm-platform/lifecycle/creation.js';
import type { Launch } from '#server/cvm-platform/lifecycle/cvm.js';
import { Lifecycle } from '#server/cvm-platform/lifecycle/lifecycle.js';
import type { Store } from '#server/cvm-platform/store/store.js';
import { FakeHost } from '../../fakes/host-driver.js';
import { MemoryStore } from '../../fakes/platform-store.js';
import { definitionOf, imageOf } from './definitions.js';

const silent = pino({ level: 'silent' });
export const day = 24 * 3600 * 1000;

export const limits = {
  cvmsMax: 8,
  cvmsPerTenantMax: 6,
  requestTtlMs: day,
  requestsPerTenantMax: 5,
};

export function launchOf(image: LaunchImage = imageOf(1)): Launch {
  const { cvmId, image: _, ...rest } = definitionOf('cvm-0', image);
  const { imageDigest, firmware, kernel, initrd, cmdline } = image;
  const plan = {
    imageDigest,
    firmwareDigest: firmware.digest,
    kernelDigest: kernel.digest,
    initrdDigest: initrd.digest,
    cmdline,
    vcpus: 1,
    vcpuType: rest.vcpuType,
    guestFeatures: 1n,
    vmmType: 'QEMU',
    guestPolicy: rest.snp.guestPolicy,
    measurement: new Uint8Array(48).fill(image.cmdline.length),
  };
  return { spec: { ...rest, imageDigest }, plan };
}

/** One machine and one journal; platforms come and go on it. */
export class Machine {
  readonly host = new FakeHost();
  readonly store = new MemoryStore();
  readonly images = [imageOf(1), imageOf(2)];
  nowMs = 1_000_000;
  /** What an operator set for tenants. */
  readonly cvmsMax = new Map<string, number>();

  /** A platform that starts; `wrap` puts faults between it and its store and host. */
  async start(
    wrap: (store: Store, driver: HostDriver) => { store: Store; driver: HostDriver } = (
      store,
      driver,
    ) => ({ store, driver }),
  ): Promise<Lifecycle> {
    const { store, driver } = wrap(this.store, this.host.driver());
    const images = {
      launchImage: async (spec: { imageDigest: Uint8Array }) =>
        this.images.find((image) => image.imageDigest.join() === spec.imageDigest.join())!,
    };
    const lifecycle = new Lifecycle({
      store,
      everything: await store.load(),
      host: { driver, images, shutdownGraceMs: 1000 },
      limits,
      cvmsMaxOf: (tenantId) => this.cvmsMax.get(tenantId),
      now: () => this.nowMs,
      randomBytes: crypto.randomBytes,
      log: silent,
    });
    await lifecycle.recover();
    return lifecycle;
  }
}

export function wanted(change: Partial<NewCvms> = {}): NewCvms {
  return {
    tenantId: 'acme',
    requestId: new Uint8Array(16).fill(1),
    digest: new Uint8Array(32).fill(1),
    name: 'web',
    count: 1,
    plan: async () => launchOf(),
    ...change,
  };
}

/** Waits until what `read` gives is `value`. Turns are microtasks, so no clock is needed. */
export async function eventually<T>(read: () => T, value: T): Promise<void> {
  for (let i = 0; i < 1000 && read() !== value; i++) {
    await new Promise((resume) => setImmediate(resume));
  }
  if (read() !== value) throw new Error(`${String(read())} did not become ${String(value)}`);
}
