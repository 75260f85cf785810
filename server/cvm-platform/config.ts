import type { ConfigReader } from '#server/host/config/reader.js';
import { type HostSettings, readHostSettings } from '#server/host/config/settings.js';
import type { SnpTcb } from './driver/driver.js';
import { type SimulatedProduct, simulatedProducts } from './driver/simulated/hardware.js';

const hour = 3600 * 1000;

/** Settings of the simulated driver. Paths are absolute. */
export interface SimulatedSettings {
  readonly kind: 'simulated';
  readonly cvmsFolder: string;
  readonly runFolder: string;
  readonly hardwareFolder: string;
  readonly product: SimulatedProduct;
  /** undefined: that of a new chip. */
  readonly tcb: SnpTcb | undefined;
  /** Program that guests run; undefined: the Key Agent of this installation. */
  readonly agentProgram: string | undefined;
}

export interface PlatformLimits {
  readonly cvmsMax: number;
  readonly cvmsPerTenantMax: number;
  readonly requestsPerTenantMax: number;
  readonly requestTtlMs: number;
  readonly vcpusMax: number;
  readonly memoryMibMax: number;
  readonly diskMibMax: number;
  readonly firmwareBytesMax: number;
}

/** What the CVM Platform's configuration file says. Paths are absolute. */
export interface PlatformSettings {
  readonly host: HostSettings;
  readonly storeFolder: string;
  readonly images: { readonly folder: string; readonly tenantFirmwareFolder: string };
  readonly driver: SimulatedSettings;
  readonly limits: PlatformLimits;
  readonly offerMs: number;
  readonly shutdownGraceMs: number;
  readonly evidenceMsMax: number;
  readonly stopCvmsOnExit: boolean;
}

/** @throws CvmpError CONFIG naming the entry */
export function readPlatformSettings(config: ConfigReader): PlatformSettings {
  return {
    host: readHostSettings(config, {
      name: 'cvm-platform',
      grpcPort: 7444,
      webPort: 7481,
      metricsPort: 7491,
      // Firmware travels inside requests and answers.
      messageBytesMax: 20 * 1024 * 1024,
    }),
    storeFolder: config.section('store', (store) =>
      store.path('folder', { default: 'store', why: 'beside this file' }),
    ),
    images: config.section('images', (images) => ({
      folder: images.path('folder', {
        default: 'images',
        why: 'beside this file; one folder for each image',
      }),
      tenantFirmwareFolder: images.path('tenant_firmware_folder', {
        default: 'firmware',
        why: 'beside this file; firmware that tenants bring',
      }),
    })),
    driver: config.section('driver', readDriver),
    limits: config.section('limits', readLimits),
    offerMs: seconds(config, 'offer_seconds', 3600, 'features change with the host, seldom'),
    ...config.section('guests', (guests) => ({
      shutdownGraceMs: seconds(guests, 'shutdown_grace_seconds', 10, 'then it is forced'),
      evidenceMsMax: seconds(guests, 'evidence_seconds_max', 15, 'a report takes milliseconds'),
      stopCvmsOnExit:
        guests.choice('on_exit', ['keep', 'stop'], {
          default: 'keep',
          why: 'CVMs outlive the platform, and are found again',
        }) === 'stop',
    })),
  };
}

function seconds(section: ConfigReader, key: string, value: number, why: string): number {
  return 1000 * section.integer(key, { min: 1, max: 86_400, default: value, why });
}

function readDriver(driver: ConfigReader): SimulatedSettings {
  return {
    kind: driver.choice('kind', ['simulated'], {
      default: 'simulated',
      why: 'no hardware is needed; evidence is marked as simulated',
    }),
    cvmsFolder: driver.path('cvms_folder', { default: 'cvms', why: 'beside this file' }),
    runFolder: driver.path('run_folder', {
      default: 'run',
      why: 'beside this file; paths of unix sockets must be short',
    }),
    hardwareFolder: driver.path('hardware_folder', {
      default: 'hardware',
      why: 'beside this file; keys of the simulated security processor',
    }),
    product: driver.choice('product', simulatedProducts, {
      default: 'Genoa',
      why: 'init makes a chip of it',
    }),
    tcb: driver.has('tcb') ? driver.section('tcb', readTcb) : undefined,
    agentProgram: driver.has('agent_program') ? driver.path('agent_program') : undefined,
  };
}

function readTcb(tcb: ConfigReader): SnpTcb {
  const component = (key: string) =>
    tcb.integer(key, { min: 0, max: 255, default: 0, why: 'not told' });
  return {
    fmc: component('fmc'),
    bootloader: component('bootloader'),
    tee: component('tee'),
    snp: component('snp'),
    microcode: component('microcode'),
  };
}

function readLimits(limits: ConfigReader): PlatformLimits {
  return {
    cvmsMax: limits.integer('cvms_max', {
      min: 1,
      max: 100_000,
      default: 64,
      why: 'a simulated CVM is two processes of some 50 MiB each',
    }),
    cvmsPerTenantMax: limits.integer('cvms_per_tenant_max', {
      min: 1,
      max: 100_000,
      default: 32,
      why: 'no tenant fills the platform alone',
    }),
    requestsPerTenantMax: limits.integer('requests_per_tenant_max', {
      min: 1,
      max: 1_000_000,
      default: 10_000,
      why: 'each remembered request is 200 bytes',
    }),
    requestTtlMs:
      hour *
      limits.integer('request_hours', {
        min: 24,
        max: 24 * 365,
        default: 24,
        why: 'so long a tenant may repeat a request without a second CVM',
      }),
    vcpusMax: limits.integer('vcpus_max', {
      min: 1,
      max: 512,
      default: 16,
      why: 'each adds to the time of a launch',
    }),
    memoryMibMax: limits.integer('memory_mib_max', {
      min: 64,
      max: 16_777_216,
      default: 65_536,
      why: 'a simulated CVM takes none of it',
    }),
    diskMibMax: limits.integer('disk_mib_max', {
      min: 8,
      max: 1_048_576,
      default: 4096,
      why: 'disks are sparse files beside each other',
    }),
    firmwareBytesMax: limits.integer('firmware_bytes_max', {
      min: 4096,
      max: 16_777_216,
      default: 16_777_216,
      why: 'as much as proto/ admits',
    }),
  };
}
