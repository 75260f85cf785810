import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { launchMeasurement } from '#core/snp/launch/measure.js';
import { crypto } from '#crypto';
import { CvmService, CvmState } from '#gen/cvmp/v1/platform_pb.js';
import { launchInputs } from '#wire/launch.js';
import { makeSigner } from '../../fakes/callers.js';
import { ends } from './driver/simulated-bench.js';
import { PlatformFolder } from './process.js';
import { createRequest, told } from './service-harness.js';

function pidOf(folder: PlatformFolder, cvmId: string, file: 'agent.pid' | 'machine.pid'): number {
  const path = join(folder.path, 'cvms', cvmId, file);
  return (JSON.parse(readFileSync(path, 'utf8')) as { pid: number }).pid;
}

describe('cvmp-platform', () => {
  test('init makes store, images, hardware and certificate, once', async () => {
    const { folder, init } = await PlatformFolder.original();
    expect(init).toMatchObject({ code: 0, stderr: '' });
    for (const line of ['store: ', 'images: sample-v1, sample-v2', 'certificate: ']) {
      expect(init.stdout).toContain(line);
    }
    const modeOf = (file: string) => statSync(join(folder.path, 'hardware', file)).mode & 0o777;
    expect([modeOf('ark.pem'), modeOf('processor')]).toEqual([0o644, 0o600]);
    const second = await folder.run('init');
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/^cvmp-platform: error: .*\n {2}hint: /);
    const printed = await folder.run('serve', '--print-config');
    expect(printed.code).toBe(0);
    expect(printed.stdout).toContain('offer_seconds: 3600 # default:');
  });

  test('without init it does not serve', async () => {
    const folder = await PlatformFolder.make();
    const { code, stderr } = await folder.run('serve');
    expect(code).toBe(1);
    expect(stderr).toContain('there is no database');
  });

  test('a CVM lives on when the platform is killed, and is found again', async () => {
    const folder = await PlatformFolder.initialised();
    const tenant = await makeSigner('acme');
    let platform = await folder.serve();
    let acme = await platform.tenant(tenant);
    const request = await createRequest(acme, { shape: { vcpus: 2, vcpuType: 'EPYC-Genoa' } });
    const [cvm] = (await acme.cVMCreate(request)).cvms;

    // The tenant recomputes the launch measurement from the inputs (protocol.md s.5).
    const { firmware } = await acme.cVMImage({ digest: request.imageDigest! });
    const inputs = launchInputs(cvm!.launchInputs!, firmware);
    expect(launchMeasurement(inputs)).toEqual(cvm!.predictedMeasurement);

    await acme.cVMStart({ cvm: 'web' });
    const agent = pidOf(folder, cvm!.cvmId, 'agent.pid');
    await platform.end('SIGKILL');
    process.kill(agent, 0);

    platform = await folder.serve();
    acme = await platform.client(CvmService, tenant);
    expect((await acme.cVMGet({ cvm: 'web' })).cvm).toMatchObject({
      state: CvmState.RUNNING,
      bootCount: 1,
    });
    expect((await acme.cVMCreate(request)).cvms[0]?.cvmId).toBe(cvm!.cvmId);
    expect(pidOf(folder, cvm!.cvmId, 'agent.pid')).toBe(agent);
    await acme.cVMStop({ cvm: 'web' });
    await ends(agent);
    await acme.cVMDelete({ cvm: 'web' });
    expect(readdirSync(join(folder.path, 'cvms'))).toEqual([]);
    expect(await platform.end('SIGTERM')).toBe(0);
  });

  test('it stops cleanly: CVMs go on, or are stopped where the configuration says so', async () => {
    for (const on_exit of ['keep', 'stop']) {
      const folder = await PlatformFolder.initialised({ guests: { on_exit } });
      let platform = await folder.serve();
      const tenant = await makeSigner('acme');
      let acme = await platform.tenant(tenant);
      const { cvms } = await acme.cVMCreate(await createRequest(acme));
      await acme.cVMStart({ cvm: 'web' });
      const agent = pidOf(folder, cvms[0]!.cvmId, 'agent.pid');
      expect(await platform.end('SIGTERM')).toBe(0);
      if (on_exit === 'stop') await ends(agent);
      else process.kill(agent, 0);
      platform = await folder.serve();
      acme = await platform.client(CvmService, tenant);
      const state = on_exit === 'stop' ? CvmState.STOPPED : CvmState.RUNNING;
      expect((await acme.cVMGet({ cvm: 'web' })).cvm?.state).toBe(state);
      await acme.cVMStop({ cvm: 'web', force: true });
      await platform.end('SIGTERM');
    }
  });

  test('killed amid creations, starts and deletions it keeps every promise and loses sight of none', async () => {
    const folder = await PlatformFolder.initialised({
      limits: { cvms_max: 100, cvms_per_tenant_max: 100 },
    });
    const tenant = await makeSigner('acme');
    let platform = await folder.serve();
    let acme = await platform.tenant(tenant);
    const acknowledged = new Map<string, 'created' | 'started' | 'deleted'>();
    const asked: string[] = [];
    for (let round = 0; round < 3; round++) {
      const work = Array.from({ length: 6 }, async (_, i) => {
        const name = `n${round}-${i}`;
        asked.push(name);
        await acme.cVMCreate(await createRequest(acme, { name }));
        acknowledged.set(name, 'created');
        if (i % 3 === 0) return;
        // What was asked and not answered may have happened or not: both are looked at below.
        acknowledged.delete(name);
        if (i % 3 === 1) await acme.cVMStart({ cvm: name });
        else await acme.cVMDelete({ cvm: name });
        acknowledged.set(name, i % 3 === 1 ? 'started' : 'deleted');
      });
      // The kill comes when something was acknowledged and much is under way.
      await Promise.race(work);
      await platform.end('SIGKILL');
      await Promise.allSettled(work);

      platform = await folder.serve();
      acme = await platform.client(CvmService, tenant);
      const { cvms } = await acme.cVMList({ pageSize: 1000 });
      const states = new Map(cvms.map((cvm) => [cvm.name, cvm.state]));
      for (const [name, promise] of acknowledged) {
        if (promise === 'deleted') expect(states.has(name)).toBe(false);
        if (promise === 'created') expect(states.get(name)).toBe(CvmState.DEFINED);
        if (promise === 'started') expect(states.get(name)).toBe(CvmState.RUNNING);
      }
      for (const state of states.values()) {
        expect([CvmState.DEFINED, CvmState.RUNNING]).toContain(state);
      }
      const ids = cvms.map((cvm) => cvm.cvmId).sort();
      expect(readdirSync(join(folder.path, 'cvms')).sort()).toEqual(ids);
      for (const { cvmId, state } of cvms) {
        const machine = join(folder.path, 'cvms', cvmId, 'machine.pid');
        expect(existsSync(machine)).toBe(state === CvmState.RUNNING);
      }
    }
    for (const { name, state } of (await acme.cVMList({})).cvms) {
      if (state === CvmState.RUNNING) await acme.cVMStop({ cvm: name, force: true });
      await acme.cVMDelete({ cvm: name });
    }
    expect(asked).toHaveLength(18);
    expect(await platform.end('SIGTERM')).toBe(0);
  });

  test('the web port serves the same over Connect on HTTP/1.1', async () => {
    const folder = await PlatformFolder.initialised();
    const platform = await folder.serve();
    const tenant = await makeSigner('acme');
    const grpc = await platform.tenant(tenant);
    const web = await platform.client(CvmService, tenant, 'web');
    expect((await web.cVMFeature({})).featureSetId).toEqual(
      (await grpc.cVMFeature({})).featureSetId,
    );
    const stranger = await platform.client(CvmService, await makeSigner('globex'), 'web');
    expect(await told(stranger.cVMList({}))).toBe('TOKEN_INVALID');
    await web.cVMCreate(await createRequest(web, { requestId: crypto.randomBytes(16) }));
    expect((await web.cVMList({})).cvms).toHaveLength(1);
    await platform.end('SIGTERM');
  });
});
