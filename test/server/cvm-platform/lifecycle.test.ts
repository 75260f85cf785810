import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import type { Lifecycle } from '#server/cvm-platform/lifecycle/lifecycle.js';
import { refusalOf } from '../../refusal.js';
import { imageOf } from './definitions.js';
import { day, eventually, launchOf, limits, Machine, wanted } from './lifecycle-harness.js';

async function withCvm(): Promise<{ machine: Machine; lifecycle: Lifecycle; id: string }> {
  const machine = new Machine();
  const lifecycle = await machine.start();
  const [cvm] = await lifecycle.creation.create(wanted());
  return { machine, lifecycle, id: cvm!.cvmId };
}

const request = (n: number) => ({ requestId: new Uint8Array(16).fill(n), name: `n${n}` });

describe('creation (draft s.3.2)', () => {
  test('a new CVM is known to the host and not running', async () => {
    const { machine, lifecycle, id } = await withCvm();
    expect(lifecycle.registry.find('acme', id)).toMatchObject({
      name: 'web',
      state: 'defined',
      bootCount: 0,
      createdMs: machine.nowMs,
    });
    expect(machine.host.cvms.get(id)?.state.run).toBe('off');
  });

  test('with a count, numbers are appended and all are created', async () => {
    const lifecycle = await new Machine().start();
    const cvms = await lifecycle.creation.create(wanted({ count: 3 }));
    expect(cvms.map((cvm) => cvm.name)).toEqual(['web-1', 'web-2', 'web-3']);
    expect(new Set(cvms.map((cvm) => cvm.cvmId)).size).toBe(3);
  });

  test('the same request gives the same CVMs: at once, later, and after a restart', async () => {
    const machine = new Machine();
    const lifecycle = await machine.start();
    const ids = async (by: Lifecycle) =>
      (await by.creation.create(wanted({ count: 2 }))).map((cvm) => cvm.cvmId);
    const [first, second] = await Promise.all([ids(lifecycle), ids(lifecycle)]);
    expect(second).toEqual(first);
    expect(await ids(lifecycle)).toEqual(first);
    await lifecycle.close();
    expect(await ids(await machine.start())).toEqual(first);
    expect(machine.host.cvms.size).toBe(2);
  });

  test('the same request id with another content is refused, also while the first is under way', async () => {
    const lifecycle = await new Machine().start();
    const other = wanted({ digest: new Uint8Array(32).fill(2) });
    const first = lifecycle.creation.create(wanted());
    expect(await refusalOf(lifecycle.creation.create(other))).toBe('IDEMPOTENCY_MISMATCH');
    await first;
    expect(await refusalOf(lifecycle.creation.create(other))).toBe('IDEMPOTENCY_MISMATCH');
  });

  test('tenants choose request ids and names without regard to each other', async () => {
    const { lifecycle, id } = await withCvm();
    const [theirs] = await lifecycle.creation.create(wanted({ tenantId: 'globex' }));
    expect(theirs!.cvmId).not.toBe(id);
    expect(theirs!.name).toBe('web');
  });

  test('a request whose CVMs were deleted creates nothing again', async () => {
    const { machine, lifecycle, id } = await withCvm();
    await lifecycle.operations.run(id, 'delete');
    expect(await refusalOf(lifecycle.creation.create(wanted()))).toBe('NOT_FOUND');
    expect(machine.host.cvms.size).toBe(0);
  });

  test('a request is forgotten when its CVMs are gone and its time is over', async () => {
    const { machine, lifecycle, id } = await withCvm();
    await lifecycle.operations.run(id, 'delete');
    machine.nowMs += day + 1;
    await lifecycle.creation.create(wanted(request(2)));
    expect(lifecycle.registry.request('acme', wanted().requestId)).toBeUndefined();
    expect(lifecycle.registry.request('acme', request(2).requestId)).toBeDefined();
  });

  test('a name is taken once, also by CVMs that are just being created', async () => {
    const { lifecycle } = await withCvm();
    const same = { ...request(2), name: 'web' };
    expect(await refusalOf(lifecycle.creation.create(wanted(same)))).toBe('ALREADY_EXISTS');
    const [a, b] = await Promise.all([
      refusalOf(lifecycle.creation.create(wanted({ ...request(3), name: 'db' }))),
      refusalOf(lifecycle.creation.create(wanted({ ...request(4), name: 'db' }))),
    ]);
    expect([a, b].sort()).toEqual(['ALREADY_EXISTS', 'accepted']);
  });

  test('quotas: of the platform, of a tenant, of remembered requests', async () => {
    const lifecycle = await new Machine().start();
    const refusal = (tenantId: string, n: number, count: number) =>
      refusalOf(lifecycle.creation.create(wanted({ tenantId, ...request(n), count })));
    expect(await refusal('acme', 1, limits.cvmsPerTenantMax + 1)).toBe('QUOTA');
    expect(await refusal('acme', 1, limits.cvmsPerTenantMax)).toBe('accepted');
    expect(await refusal('acme', 2, 1)).toBe('QUOTA');
    expect(await refusal('globex', 1, limits.cvmsMax - limits.cvmsPerTenantMax + 1)).toBe('QUOTA');
    expect(await refusal('globex', 1, limits.cvmsMax - limits.cvmsPerTenantMax)).toBe('accepted');

    const busy = await new Machine().start();
    for (let n = 0; n < limits.requestsPerTenantMax; n++) {
      const [cvm] = await busy.creation.create(wanted(request(n)));
      await busy.operations.run(cvm!.cvmId, 'delete');
    }
    expect(await refusalOf(busy.creation.create(wanted(request(100))))).toBe('QUOTA');
  });

  test('a tenant has the quota that an operator set for it, at once', async () => {
    const machine = new Machine();
    const lifecycle = await machine.start();
    const refusal = (n: number) =>
      refusalOf(lifecycle.creation.create(wanted({ ...request(n), name: `cvm-${n}` })));
    machine.cvmsMax.set('acme', 1);
    expect(await refusal(1)).toBe('accepted');
    expect(await refusal(2)).toBe('QUOTA');
    machine.cvmsMax.set('acme', 2);
    expect(await refusal(3)).toBe('accepted');
  });

  test('where the host refuses one of several, none is created and nothing is left', async () => {
    const machine = new Machine();
    const lifecycle = await machine.start();
    let defined = 0;
    machine.host.before = (operation) => {
      if (operation === 'define' && ++defined === 2) throw new CvmpError('DRIVER', 'no room');
    };
    const create = () => lifecycle.creation.create(wanted({ count: 3 }));
    expect(await refusalOf(create())).toBe('DRIVER');
    expect(lifecycle.registry.all()).toEqual([]);
    expect(machine.host.cvms.size).toBe(0);
    machine.host.before = () => {};
    expect(await create()).toHaveLength(3);
  });

  test('where the plan is refused, nothing is journalled and the request id stays free', async () => {
    const lifecycle = await new Machine().start();
    const refused = wanted({
      plan: async () => {
        throw new CvmpError('IMAGE_UNKNOWN', 'no');
      },
    });
    expect(await refusalOf(lifecycle.creation.create(refused))).toBe('IMAGE_UNKNOWN');
    expect(await refusalOf(lifecycle.creation.create(wanted()))).toBe('accepted');
  });

  test('a CVM that is being created is not there yet for anybody', async () => {
    const machine = new Machine();
    const lifecycle = await machine.start();
    const seen: string[] = [];
    lifecycle.registry.onChange(({ cvm }) => seen.push(cvm.state));
    machine.host.before = () => {
      expect(lifecycle.registry.ofTenant('acme')).toEqual([]);
      expect(lifecycle.registry.all()).toHaveLength(1);
      expect(seen).toEqual([]);
    };
    await lifecycle.creation.create(wanted());
    expect(seen).toEqual(['defined']);
  });
});

describe('operations', () => {
  test('start, stop, update, delete: the states on the way are told in order', async () => {
    const { lifecycle, id } = await withCvm();
    const seen: string[] = [];
    lifecycle.registry.onChange(({ cvm, gone }) => seen.push(gone ? 'gone' : cvm.state));
    expect(await lifecycle.operations.run(id, 'start')).toMatchObject({ bootCount: 1 });
    await lifecycle.operations.run(id, 'stop');
    const launch = launchOf(imageOf(2));
    expect(await lifecycle.operations.run(id, 'update', { launch })).toMatchObject({ launch });
    expect(await lifecycle.operations.run(id, 'start')).toMatchObject({ bootCount: 2 });
    await lifecycle.operations.run(id, 'stop', { force: true });
    await lifecycle.operations.run(id, 'delete');
    expect(seen.join(' ')).toBe(
      'starting running stopping stopped stopped stopped starting running ' +
        'stopping stopped deleting gone',
    );
  });

  test('a stop asks first and forces a guest that does not hear; force does not ask', async () => {
    const { machine, lifecycle, id } = await withCvm();
    const asked: string[] = [];
    machine.host.before = (operation) => asked.push(operation);
    machine.host.deaf.add(id);
    await lifecycle.operations.run(id, 'start');
    await lifecycle.operations.run(id, 'stop');
    await lifecycle.operations.run(id, 'start');
    await lifecycle.operations.run(id, 'stop', { force: true });
    expect(asked.join(' ')).toBe('define start shutdown destroy define start destroy');
  });

  test('operations on one CVM wait for each other; too many are turned away', async () => {
    const { machine, lifecycle, id } = await withCvm();
    const [, second] = await Promise.all([
      lifecycle.operations.run(id, 'start'),
      lifecycle.operations.run(id, 'start'),
    ]);
    expect(second).toMatchObject({ state: 'running', bootCount: 1 });
    expect(machine.host.cvms.get(id)?.starts).toBe(1);
    const refusals = await Promise.all(
      Array.from({ length: 40 }, () => refusalOf(lifecycle.operations.run(id, 'start'))),
    );
    expect(refusals.filter((refusal) => refusal === 'RATE').length).toBeGreaterThan(20);
    expect(await refusalOf(lifecycle.operations.run(id, 'stop'))).toBe('accepted');
  });

  test('an operation that the host refuses leaves the CVM failed, saying why; it may be repeated', async () => {
    const { machine, lifecycle, id } = await withCvm();
    machine.host.before = (operation) => {
      if (operation === 'start') throw new CvmpError('LAUNCH_REFUSED', 'wrong ID block');
    };
    expect(await refusalOf(lifecycle.operations.run(id, 'start'))).toBe('LAUNCH_REFUSED');
    const failed = lifecycle.registry.get(id)!;
    expect(failed).toMatchObject({
      state: 'failed',
      message: 'start: LAUNCH_REFUSED: wrong ID block',
    });
    expect(failed.pending).toBeUndefined();
    machine.host.before = () => {};
    const running = await lifecycle.operations.run(id, 'start');
    expect(running).toMatchObject({ state: 'running', message: '' });
  });

  test('where the journal cannot write, the host is not asked', async () => {
    const { machine, lifecycle, id } = await withCvm();
    const asked: string[] = [];
    machine.host.before = (operation) => asked.push(operation);
    machine.store.hook = () => {
      throw new CvmpError('STORE_WRITE', 'disk full');
    };
    expect(await refusalOf(lifecycle.operations.run(id, 'start'))).toBe('STORE_WRITE');
    expect(asked).toEqual([]);
    expect(lifecycle.registry.get(id)?.state).toBe('defined');
  });

  test("another tenant's CVM is as unknown as one that never was", async () => {
    const { lifecycle, id } = await withCvm();
    for (const name of [id, 'web', 'nothing']) {
      expect(await refusalOf(() => lifecycle.registry.find('globex', name))).toBe('NOT_FOUND');
    }
    expect(lifecycle.registry.ofTenant('globex')).toEqual([]);
  });
});

describe('following the host', () => {
  test.each([
    [{ run: 'off' } as const, 'stopped', ''],
    [{ run: 'crashed', reason: 'kernel panic' } as const, 'failed', 'kernel panic'],
    [{ run: 'absent' } as const, 'failed', 'the host does not know it any more'],
  ])('a running CVM that the host sees as %o becomes %s', async (seen, state, message) => {
    const { machine, lifecycle, id } = await withCvm();
    await lifecycle.operations.run(id, 'start');
    machine.host.end(id, seen);
    await eventually(() => lifecycle.registry.get(id)?.state, state);
    expect(lifecycle.registry.get(id)?.message).toBe(message);
  });

  test('a guest that dies while its start is on the way is not taken for running', async () => {
    const { machine, lifecycle, id } = await withCvm();
    let commits = 0;
    machine.store.hook = (moment) => {
      // The second commit of a start says running; the guest dies just before.
      if (moment === 'before' && ++commits === 2) {
        machine.host.end(id, { run: 'crashed', reason: 'early' });
      }
    };
    await lifecycle.operations.run(id, 'start');
    await eventually(() => lifecycle.registry.get(id)?.state, 'failed');
  });

  test('a restarted platform finds its CVMs in their true states', async () => {
    const { machine, lifecycle, id } = await withCvm();
    const [other] = await lifecycle.creation.create(wanted(request(2)));
    await lifecycle.operations.run(id, 'start');
    await lifecycle.operations.run(other!.cvmId, 'start');
    await lifecycle.close();
    machine.host.end(id, { run: 'off' });
    const next = await machine.start();
    expect(next.registry.get(id)?.state).toBe('stopped');
    expect(next.registry.get(other!.cvmId)?.state).toBe('running');
  });
});
