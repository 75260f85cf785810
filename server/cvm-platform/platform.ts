import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { crypto } from '#crypto';
import { Database } from '#server/host/level.js';
import { errorFields, logField } from '#server/host/log.js';
import type { PlatformSettings } from './config.js';
import type { HostDriver } from './driver/driver.js';
import { SimulatedDriver } from './driver/simulated/simulated.js';
import { Guests } from './guests/guests.js';
import { ImageCatalogue } from './images.js';
import { Lifecycle } from './lifecycle/lifecycle.js';
import { Planning } from './planning.js';
import { type Everything, levelStore, type Store, storeKind } from './store/store.js';
import { PlatformTenants } from './store/tenants.js';

/** Where the other programs of this installation are. */
const programs = {
  machineProgram: fileURLToPath(new URL('./driver/simulated/cvm/main.js', import.meta.url)),
  agentProgram: fileURLToPath(new URL('../../agent/main.js', import.meta.url)),
};

/** Everything of a platform but its ports. */
export interface Platform {
  readonly tenants: PlatformTenants;
  readonly images: ImageCatalogue;
  readonly lifecycle: Lifecycle;
  readonly planning: Planning;
  readonly guests: Guests;
  /** Set when the store cannot write: nothing can be changed any more. */
  failure(): Error | undefined;
  /** Lets go of everything; CVMs go on unless the settings say otherwise. */
  close(): Promise<void>;
}

/**
 * Opens store and host, finishes what an earlier platform left, and finds its CVMs.
 * @throws CvmpError STORE_MISSING, STORE_LOCKED, STORE_CORRUPT, CONFIG, DRIVER
 */
export async function openPlatform(
  settings: PlatformSettings,
  log: Logger,
  now: () => number,
): Promise<Platform> {
  // What was opened is closed in the reverse order, also where a later step fails.
  const opened: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const step of opened.splice(0).reverse()) await step();
  };
  try {
    const database = await Database.open(settings.storeFolder, storeKind);
    opened.push(() => database.close());
    const store = levelStore(database);
    const everything = await store.load();
    const driver = await openDriver(settings, now);
    opened.push(() => driver.close());
    const images = await openImages(settings);
    const tenants = new PlatformTenants(store, everything.tenants, now);
    const cvmsMaxOf = (tenantId: string) => tenants.peek(tenantId)?.limits.cvmsMax;
    const parts = { store, everything, driver, images, cvmsMaxOf, log, now };
    const lifecycle = openLifecycle(settings, parts);
    opened.push(() => lifecycle.close());
    await lifecycle.recover();
    if (settings.stopCvmsOnExit) opened.push(() => stopAll(lifecycle, log));
    const { registry } = lifecycle;
    const planning = new Planning(driver, images, registry, settings.limits);
    await planning.sweep();
    const { evidenceMsMax } = settings;
    const guests = new Guests({ driver, registry, evidenceMsMax, log });
    opened.push(() => guests.close());
    const failure = () => database.failure;
    return { tenants, images, lifecycle, planning, guests, failure, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function openDriver({ driver }: PlatformSettings, now: () => number): Promise<SimulatedDriver> {
  const agentProgram = driver.agentProgram ?? programs.agentProgram;
  return SimulatedDriver.open({ ...driver, ...programs, agentProgram, now });
}

function openImages({ images }: PlatformSettings): Promise<ImageCatalogue> {
  return ImageCatalogue.load(images.folder, images.tenantFirmwareFolder);
}

interface LifecycleParts {
  readonly store: Store;
  readonly everything: Everything;
  readonly driver: HostDriver;
  readonly images: ImageCatalogue;
  readonly cvmsMaxOf: (tenantId: string) => number | undefined;
  readonly log: Logger;
  readonly now: () => number;
}

function openLifecycle(settings: PlatformSettings, parts: LifecycleParts): Lifecycle {
  const { driver, images, ...rest } = parts;
  const { limits, shutdownGraceMs } = settings;
  const { randomBytes } = crypto;
  return new Lifecycle({ ...rest, limits, randomBytes, host: { driver, images, shutdownGraceMs } });
}

async function stopAll({ registry, operations }: Lifecycle, log: Logger): Promise<void> {
  const running = registry.all().filter((cvm) => cvm.state === 'running');
  await Promise.all(
    running.map(({ cvmId }) =>
      operations.run(cvmId, 'stop').catch((error) => {
        log.warn({ [logField.cvmId]: cvmId, ...errorFields(error) }, 'not stopped');
      }),
    ),
  );
}
