import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { encodeIdBlock, signIdBlock, snpKeyDigest } from '#core/snp/launch/id-block.js';
import { launchMeasurement } from '#core/snp/launch/measure.js';
import { parseReport } from '#core/snp/parse.js';
import { encodeTcb } from '#core/snp/product.js';
import { verifyReport } from '#core/snp/verify.js';
import { crypto } from '#crypto';
import type { CvmDefinition, HostDriver } from '#server/cvm-platform/driver/driver.js';
import { trustAnchorFile } from '#server/cvm-platform/driver/simulated/hardware.js';
import { launchInputs } from '#wire/launch.js';
import { driverContract } from '../../../contracts/driver.js';
import { refusalOf } from '../../../refusal.js';
import { appears, ends, simulatedBench } from './simulated-bench.js';

driverContract('simulated', simulatedBench);

type Bench = Awaited<ReturnType<typeof simulatedBench>>;

describe('simulated driver: a machine process and a Key Agent for each CVM', () => {
  let bench: Bench;
  let driver: HostDriver;
  let definition: CvmDefinition;
  const id = 'cvm-1';

  beforeEach(async () => {
    bench = await simulatedBench();
    driver = await bench.open();
    definition = bench.definition(id);
  });

  afterEach(async () => {
    await driver.undefine(id);
    await driver.close();
  });

  /** Starts the CVM and gives the report that its guest took. */
  async function report() {
    await driver.define(definition);
    await driver.start(id);
    await bench.guestReady(id);
    return parseReport(readFileSync(bench.inCvm(id, 'agent', 'report')));
  }

  async function idBlock(key: EcPrivateKey, measurement: Uint8Array, guestSvn: number) {
    const block = encodeIdBlock({
      measurement,
      familyId: new Uint8Array(16).fill(1),
      imageId: new Uint8Array(16).fill(2),
      guestSvn,
      guestPolicy: definition.snp.guestPolicy,
    });
    return { block, auth: await signIdBlock(block, key) };
  }

  test('the planned measurement is what a tenant recomputes from the launch inputs', async () => {
    const plan = await driver.plan({ ...definition, vcpus: 3, vcpuType: 'EPYC-Genoa' });
    const firmware = readFileSync(definition.image.firmware.path);
    expect(plan.measurement).toEqual(launchMeasurement(launchInputs(plan, firmware)));
  });

  test("the guest's own report shows the planned measurement and binds the config document", async () => {
    const { measurement } = await driver.plan(definition);
    const { measurement: launched, hostData, guestPolicy } = await report();
    expect(launched).toEqual(measurement);
    expect(hostData).toEqual(crypto.hash('sha256', definition.configDocument));
    expect(guestPolicy).toBe(definition.snp.guestPolicy);
  });

  test('its report verifies under the root of this host, and under no other', async () => {
    const evidence = await report();
    const table = parseCertTable(readFileSync(bench.inCvm(id, 'agent', 'certificates')));
    const endorsements = { certificates: table.map(({ data }) => data), crls: [] };
    const root = new X509Certificate(readFileSync(trustAnchorFile(bench.options.hardwareFolder)));
    const spki = root.publicKey.export({ format: 'der', type: 'spki' });
    const anchor = { format: 'snp', name: 'simulated', spkiDigest: crypto.hash('sha256', spki) };
    const claims = await verifyReport(evidence, endorsements, [anchor], Date.now());
    expect(claims).toMatchObject({ simulated: true, product: 'Genoa' });
    const work = verifyReport(evidence, endorsements, [], Date.now());
    expect(await refusalOf(work)).toBe('UNTRUSTED_ROOT');
  });

  test('an image that was changed under the CVM is launched and measured as it is', async () => {
    const { measurement } = await driver.plan(definition);
    await driver.define(definition);
    writeFileSync(definition.image.kernel.path, 'another kernel');
    expect((await report()).measurement).not.toEqual(measurement);
  });

  test('the TCB of the host is in the offer and, after a launch, in the report', async () => {
    await driver.close();
    const tcb = { fmc: 0, bootloader: 7, tee: 0, snp: 20, microcode: 60 };
    bench = await simulatedBench({ tcb });
    driver = await bench.open();
    definition = bench.definition(id);
    expect((await driver.capabilities())[0]?.snpTcb).toEqual(tcb);
    expect((await report()).reportedTcb).toEqual(encodeTcb('Genoa', tcb));
  });

  test('the security processor refuses a launch that its ID block does not name', async () => {
    const key = await crypto.generateEcKey('P-384');
    const wrong = await idBlock(key, new Uint8Array(48), 3);
    await driver.define({ ...definition, snp: { ...definition.snp, id: wrong } });
    const refusal = await driver.start(id).catch((error) => error);
    expect(refusal).toBeInstanceOf(CvmpError);
    expect(refusal).toMatchObject({ code: 'LAUNCH_REFUSED' });
    expect(refusal.message).toContain('ID block');
    expect((await driver.inspect(id)).run).toBe('off');

    const { measurement } = await driver.plan(definition);
    const right = await idBlock(key, measurement, 3);
    definition = { ...definition, snp: { ...definition.snp, id: right } };
    const { guestSvn, idKeyDigest } = await report();
    expect(guestSvn).toBe(3);
    expect(idKeyDigest).toEqual(snpKeyDigest(key.publicPoint));
  });

  test('the disk stays over stops and new definitions, and goes with the CVM', async () => {
    await driver.define(definition);
    const disk = bench.inCvm(id, 'disk');
    expect(readFileSync(disk).length).toBe(definition.diskMib << 20);
    writeFileSync(disk, 'written by the guest');
    await driver.start(id);
    await driver.destroy(id);
    await driver.define({ ...definition, image: bench.otherImage });
    expect(readFileSync(disk, 'utf8')).toBe('written by the guest');
    await driver.undefine(id);
    await driver.define(definition);
    expect(readFileSync(disk).length).toBe(definition.diskMib << 20);
  });

  test('nothing of the environment of the platform reaches the guest', async () => {
    await report();
    const environment = JSON.parse(readFileSync(bench.inCvm(id, 'agent', 'environment'), 'utf8'));
    expect(Object.keys(environment)).toEqual(['PATH']);
  });

  test('a guest that ends by itself with an error is crashed, with its last words', async () => {
    await driver.define({ ...definition, keyServerAddress: 'fails:1' });
    const ended = new Promise((resolve) => driver.watch(resolve));
    await driver.start(id);
    await ended;
    expect(await driver.inspect(id)).toEqual({
      run: 'crashed',
      reason: 'the guest ended with exit code 10: guest: error: SVN_BELOW_FLOOR',
    });
  });

  test('a guest that does not hear is left alone after the time given, until it is destroyed', async () => {
    await driver.define({ ...definition, keyServerAddress: 'deaf:1' });
    await driver.start(id);
    await bench.guestReady(id);
    expect(await driver.shutdown(id, 50)).toBe(false);
    expect((await driver.inspect(id)).run).toBe('running');
    const agent = bench.pidOf(id, 'agent.pid');
    await driver.destroy(id);
    expect((await driver.inspect(id)).run).toBe('off');
    await ends(agent);
  });

  test('a machine that is killed takes its guest along, while the driver looks and while not', async () => {
    for (const looking of [true, false]) {
      await driver.define(definition);
      await driver.start(id);
      await bench.guestReady(id);
      const [machine, agent] = [bench.pidOf(id, 'machine.pid'), bench.pidOf(id, 'agent.pid')];
      if (!looking) await driver.close();
      const noticed = new Promise((resolve) => driver.watch(resolve));
      process.kill(machine, 'SIGKILL');
      await ends(machine);
      if (looking) await noticed;
      else driver = await bench.open();
      await ends(agent);
      expect(await driver.inspect(id)).toEqual({
        run: 'crashed',
        reason: 'the machine of the guest was killed',
      });
    }
  });

  test('a process that merely has the number of a dead machine or guest is not touched', async () => {
    await driver.define(definition);
    await driver.close();
    const stranger = JSON.stringify({ pid: process.pid, started: 'another boot 1' });
    writeFileSync(bench.inCvm(id, 'machine.pid'), stranger);
    writeFileSync(bench.inCvm(id, 'agent.pid'), stranger);
    driver = await bench.open();
    expect((await driver.inspect(id)).run).toBe('crashed');
    await driver.start(id);
    expect((await driver.inspect(id)).run).toBe('running');
  });

  test('a machine that the dead platform had just started is found, not started twice', async () => {
    await driver.define(definition);
    const other = await bench.open();
    // Both believe that nothing runs: the second stands for the platform after a crash.
    await Promise.all([driver.start(id), other.start(id)]);
    await bench.guestReady(id);
    expect((await driver.inspect(id)).run).toBe('running');
    expect((await other.inspect(id)).run).toBe('running');
    await other.close();
    const agent = bench.pidOf(id, 'agent.pid');
    await driver.destroy(id);
    await ends(agent);
  });

  test('a run folder with too long a path is refused before anything starts', async () => {
    const runFolder = join(bench.options.runFolder, 'x'.repeat(80));
    expect(await refusalOf(simulatedBench({ runFolder }).then((b) => b.open()))).toBe('CONFIG');
  });

  test('a host without its security processor does not open', async () => {
    const hardwareFolder = join(bench.options.cvmsFolder, 'none');
    const { SimulatedDriver } = await import('#server/cvm-platform/driver/simulated/simulated.js');
    const open = SimulatedDriver.open({ ...bench.options, hardwareFolder });
    expect(await refusalOf(open)).toBe('CONFIG');
  });

  test('the console log of a guest is kept', async () => {
    await driver.define({ ...definition, keyServerAddress: 'fails:1' });
    const ended = new Promise((resolve) => driver.watch(resolve));
    await driver.start(id);
    await ended;
    await appears(bench.inCvm(id, 'console.log'));
    expect(readFileSync(bench.inCvm(id, 'console.log'), 'utf8')).toContain('SVN_BELOW_FLOOR');
  });
});
