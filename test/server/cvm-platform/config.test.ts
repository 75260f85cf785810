import { describe, expect, test } from 'vitest';
import { readPlatformSettings } from '#server/cvm-platform/config.js';
import { readConfig } from '#server/host/config/reader.js';
import { refusalOf } from '../../refusal.js';

const read = (text: string) => readConfig(text, '/etc/cvmp/platform.yaml', readPlatformSettings);

describe('configuration of cvmp-platform', () => {
  test('an empty file is a platform with the simulated driver, all paths beside the file', () => {
    const { value, printed } = read('');
    expect(value).toMatchObject({
      host: { name: 'cvm-platform', grpc: { endpoint: { port: 7444 } } },
      storeFolder: '/etc/cvmp/store',
      images: { folder: '/etc/cvmp/images', tenantFirmwareFolder: '/etc/cvmp/firmware' },
      driver: {
        kind: 'simulated',
        cvmsFolder: '/etc/cvmp/cvms',
        runFolder: '/etc/cvmp/run',
        hardwareFolder: '/etc/cvmp/hardware',
        product: 'Genoa',
        tcb: undefined,
        agentProgram: undefined,
      },
      offerMs: 3_600_000,
      shutdownGraceMs: 10_000,
      stopCvmsOnExit: false,
    });
    expect(value.host.web.endpoint.port).toBe(7481);
    expect(printed).toContain('cvms_per_tenant_max: 32 # default:');
  });

  test('what it says is what is read', () => {
    const { value } = read(`
driver:
  product: Turin
  tcb: { fmc: 1, bootloader: 2, snp: 4, microcode: 81 }
  run_folder: /run/cvmp
limits: { cvms_max: 3, firmware_bytes_max: 4096 }
guests: { on_exit: stop }
`);
    expect(value.driver).toMatchObject({
      product: 'Turin',
      tcb: { fmc: 1, bootloader: 2, tee: 0, snp: 4, microcode: 81 },
      runFolder: '/run/cvmp',
    });
    expect(value.limits).toMatchObject({ cvmsMax: 3, firmwareBytesMax: 4096 });
    expect(value.stopCvmsOnExit).toBe(true);
  });

  test.each([
    'driver: { kind: libvirtd }',
    'driver: { product: Naples }',
    'driver: { tcb: { snp: 256 } }',
    'driver: { tcb: { fmc: -1 } }',
    'limits: { cvms_max: 0 }',
    'limits: { request_hours: 1 }',
    'limits: { vcpus_max: 513 }',
    'guests: { on_exit: kill }',
    'offer_seconds: never',
    'unknown: 1',
  ])('%s is refused', async (text) => {
    expect(await refusalOf(() => read(text))).toBe('CONFIG');
  });
});
