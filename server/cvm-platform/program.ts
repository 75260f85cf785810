import { mkdir } from 'node:fs/promises';
import { accessService } from '#server/host/callers/access-service.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { createTls } from '#server/host/config/files.js';
import { hostOptions, liveHostOptions, openLog } from '#server/host/config/settings.js';
import { type Host, startHost } from '#server/host/host.js';
import { Database } from '#server/host/level.js';
import { createObservation } from '#server/host/observe/observation.js';
import type { InitOptions, Program, Running } from '#server/host/program.js';
import { type PlatformSettings, readPlatformSettings } from './config.js';
import { cvmService } from './cvm-service.js';
import { createHardware, trustAnchorFile } from './driver/simulated/hardware.js';
import { writeSampleImages } from './driver/simulated/sample-images.js';
import { openPlatform, type Platform } from './platform.js';
import { storeKind } from './store/store.js';
import { tenantFacts } from './store/tenant-facts.js';

const sampleImages = 'sample-images';

/** `cvmp-platform`. @param now milliseconds since the epoch */
export function cvmPlatform(now: () => number): Program<PlatformSettings> {
  return {
    name: 'cvmp-platform',
    read: readPlatformSettings,
    initFlags: { [sampleImages]: 'write images for the simulated driver' },
    init: (settings, options) => init(settings, options, now),
    serve: (settings) => serve(settings, now),
  };
}

/** Nothing that exists is overwritten. @throws CvmpError ALREADY_EXISTS, CONFIG, USAGE */
async function init(
  { host, storeFolder, images, driver }: PlatformSettings,
  { selfSignedNames, flags }: InitOptions,
  now: () => number,
): Promise<readonly string[]> {
  await mkdir(storeFolder, { recursive: true, mode: 0o700 });
  await Database.create(storeFolder, storeKind);
  const lines = [`store: ${storeFolder}`];
  await mkdir(images.folder, { recursive: true });
  if (flags.has(sampleImages)) {
    const names = await writeSampleImages(images.folder);
    lines.push(`images: ${names.join(', ')} in ${images.folder}`);
  }
  await createHardware(driver.hardwareFolder, driver.product, now);
  lines.push(`root of the simulated hardware: ${trustAnchorFile(driver.hardwareFolder)}`);
  if (selfSignedNames.length > 0) {
    await createTls(host.tls, selfSignedNames, now());
    lines.push(`certificate: ${host.tls.certificateFile}`);
  }
  return lines;
}

async function serve(
  settings: PlatformSettings,
  now: () => number,
): Promise<Running<PlatformSettings>> {
  const { host, limits, offerMs } = settings;
  const log = openLog(host, now);
  const observation = createObservation(host.traces, { service: host.name, log });
  const platform = await openPlatform(settings, log, now);
  const { tenants } = platform;
  const facts = tenantFacts(() => platform.lifecycle.registry.all(), limits.cvmsPerTenantMax);
  const services = [
    cvmService({ ...platform, offerMs, cvmsMax: limits.cvmsMax, now }),
    tenantService(tenants, facts),
    accessService(tenants, facts, now),
  ];
  try {
    const parts = { services, tenants, observation, log, now };
    const server = await startHost(hostOptions(host, parts));
    const watch = followHealth(server, platform);
    let { shutdownGraceSeconds, shutdownNoticeSeconds } = host;
    return {
      log,
      apply(next) {
        server.apply(liveHostOptions(next.host, { tenants, now }));
        log.level = next.host.logLevel;
        ({ shutdownGraceSeconds, shutdownNoticeSeconds } = next.host);
      },
      async stop() {
        clearInterval(watch);
        await server.stop(shutdownGraceSeconds, shutdownNoticeSeconds);
        await platform.close();
        await observation.close();
      },
    };
  } catch (error) {
    await platform.close();
    throw error;
  }
}

const healthMilliseconds = 1000;

/** A store that cannot write changes nothing any more; whoever watches health should know. */
function followHealth(server: Host, platform: Platform): NodeJS.Timeout {
  return setInterval(() => {
    server.readiness.set('STORE_WRITE', platform.failure() !== undefined);
  }, healthMilliseconds).unref();
}
