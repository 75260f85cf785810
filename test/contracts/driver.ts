import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CvmDefinition, HostDriver } from '#server/cvm-platform/driver/driver.js';
import { refusalOf } from '../refusal.js';

/** A host that a driver is tried on. */
export interface DriverBench {
  /** A new driver over the same host. */
  open(): Promise<HostDriver>;
  /** A definition that the host can launch, with a running guest that serves its channel. */
  definition(cvmId: string): CvmDefinition;
  /** Other files to launch than those of {@link definition}. */
  readonly otherImage: CvmDefinition['image'];
  /** Resolves when the guest of a running CVM serves its channel. */
  guestReady(cvmId: string): Promise<void>;
  /** Makes the guest die, as a kernel panic would. */
  crash(cvmId: string): Promise<void>;
  close(): Promise<void>;
}

/** What any {@link HostDriver} must do. */
export function driverContract(name: string, makeBench: () => Promise<DriverBench>): void {
  describe(`${name}: HostDriver contract (architecture.md s.6)`, () => {
    let bench: DriverBench;
    let driver: HostDriver;
    let definition: CvmDefinition;
    const id = 'cvm-1';

    beforeEach(async () => {
      bench = await makeBench();
      driver = await bench.open();
      definition = bench.definition(id);
    });

    afterEach(async () => {
      await driver.undefine(id);
      await driver.close();
      await bench.close();
    });

    const runs = async () => (await driver.inspect(id)).run;

    /** Resolves when the driver says that the CVM may have changed. */
    const noticed = (by: HostDriver) =>
      new Promise<string>((resolve) => {
        const end = by.watch((cvmId) => {
          end();
          resolve(cvmId);
        });
      });

    test('it says what it can do, and says it again', async () => {
      const capabilities = await driver.capabilities();
      expect(capabilities.length).toBeGreaterThan(0);
      expect(await driver.capabilities()).toEqual(capabilities);
      for (const tee of capabilities) expect(tee.vcpuTypes.length).toBeGreaterThan(0);
    });

    test('a plan names its inputs, and its measurement follows them and nothing else', async () => {
      const plan = await driver.plan(definition);
      expect(plan.measurement).toHaveLength(48);
      expect(plan).toMatchObject({
        imageDigest: definition.image.imageDigest,
        firmwareDigest: definition.image.firmware.digest,
        cmdline: definition.image.cmdline,
        vcpus: definition.vcpus,
        guestPolicy: definition.snp.guestPolicy,
      });
      const measurement = async (change: Partial<CvmDefinition>) =>
        (await driver.plan({ ...definition, ...change })).measurement;
      const { image, vcpus } = definition;
      const other = bench.otherImage;
      expect(await measurement({})).toEqual(plan.measurement);
      expect(await measurement({ configDocument: new Uint8Array([7]) })).toEqual(plan.measurement);
      for (const change of [
        { image: { ...image, firmware: other.firmware } },
        { image: { ...image, kernel: other.kernel } },
        { image: { ...image, initrd: other.initrd } },
        { image: { ...image, cmdline: `${image.cmdline} x` } },
        { vcpus: vcpus + 1 },
      ]) {
        expect(await measurement(change)).not.toEqual(plan.measurement);
      }
    });

    test('a CVM is absent, defined, running, stopped and gone, and each step may be repeated', async () => {
      expect(await runs()).toBe('absent');
      await driver.define(definition);
      await driver.define(definition);
      expect(await runs()).toBe('off');
      await driver.start(id);
      await driver.start(id);
      expect(await runs()).toBe('running');
      expect(await driver.shutdown(id, 10_000)).toBe(true);
      expect(await driver.shutdown(id, 10_000)).toBe(true);
      expect(await runs()).toBe('off');
      await driver.start(id);
      await driver.destroy(id);
      await driver.destroy(id);
      expect(await runs()).toBe('off');
      await driver.undefine(id);
      await driver.undefine(id);
      expect(await runs()).toBe('absent');
    });

    test('what is not defined is not started; stopping it is no error', async () => {
      expect(await refusalOf(driver.start(id))).toBe('NOT_FOUND');
      expect(await driver.shutdown(id, 10_000)).toBe(true);
      await driver.destroy(id);
    });

    test('a running CVM is not defined anew; it may be undefined', async () => {
      await driver.define(definition);
      await driver.start(id);
      expect(await refusalOf(driver.define({ ...definition, vcpus: 2 }))).toBe('CVM_STATE');
      await driver.undefine(id);
      expect(await runs()).toBe('absent');
    });

    test('a guest that dies is noticed, with a reason, and can be started again', async () => {
      await driver.define(definition);
      await driver.start(id);
      const seen = noticed(driver);
      await bench.crash(id);
      expect(await seen).toBe(id);
      const state = await driver.inspect(id);
      expect(state.run).toBe('crashed');
      expect(state.run === 'crashed' && state.reason).toMatch(/./);
      await driver.start(id);
      expect(await runs()).toBe('running');
    });

    test('CVMs outlive the driver; the next one finds, follows and stops them', async () => {
      await driver.define(definition);
      await driver.start(id);
      await driver.close();
      driver = await bench.open();
      expect(await runs()).toBe('running');
      const seen = noticed(driver);
      await bench.crash(id);
      expect(await seen).toBe(id);
      await driver.start(id);
      await driver.close();
      driver = await bench.open();
      expect(await driver.shutdown(id, 10_000)).toBe(true);
      expect(await runs()).toBe('off');
    });

    test('a guest that dies while no driver looks is found dead', async () => {
      await driver.define(definition);
      await driver.start(id);
      await driver.close();
      await bench.crash(id);
      driver = await bench.open();
      expect(await runs()).toBe('crashed');
    });

    test('the guest channel reaches a running guest, and fails where none runs', async () => {
      await driver.define(definition);
      const refused = driver.guestChannel(id);
      const [error] = await once(refused, 'error');
      expect(error).toBeInstanceOf(Error);
      await driver.start(id);
      await bench.guestReady(id);
      const open = driver.guestChannel(id);
      await once(open, 'connect');
      open.destroy();
    });
  });
}
