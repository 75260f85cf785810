import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AgentIo } from '#agent/run.js';
import { CvmpError, type ErrorCode } from '#core/errors.js';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { guestClient } from '#server/cvm-platform/guests/client.js';
import { SessionServer } from '../fakes/session-server.js';
import { canary } from '../run-folder.js';
import { runHere, TestCvm } from './cvm.js';

let server: SessionServer;
let cvm: TestCvm;

beforeAll(async () => {
  server = await SessionServer.start();
  server.keys.onRelease = canary;
});
afterAll(() => server.close());
beforeEach(async () => {
  cvm = new TestCvm();
  server.level = 1;
  server.leaseMs = 3_600_000;
  server.keys.calls.length = 0;
  server.keys.failNext = undefined;
  Object.assign(server.misbehaviour, { refuse: undefined, answer: undefined, grant: undefined });
  server.policy = { tenantId: 'acme', cvmNames: ['web*'], allowSimulated: true };
  await cvm.launch(server.configDocument());
});
afterEach(() => cvm.stop());

const agent = (change: object = {}, io: Partial<AgentIo> = {}) => runHere(cvm, server, change, io);
const once = (change: object = {}) => agent(change).ended;

/** Resolves when the agent's status is of this phase. */
async function phaseReached(wanted: AgentPhase): Promise<string> {
  while (!existsSync(cvm.path('guest'))) await new Promise((r) => setImmediate(r));
  const { service, close } = guestClient(() => connect(cvm.path('guest')), 1 << 20);
  try {
    for await (const { phase, code } of service.guestStatus({})) {
      if (phase === wanted) return code;
    }
    throw new Error('the agent ended before');
  } finally {
    close();
  }
}

describe('the whole exchange', () => {
  test('first boot formats, second opens, a higher level re-keys, an outdated CVM is refused', async () => {
    expect(await once()).toBe(0);
    expect(server.keys.calls).toEqual(['alloc', 'confirm 1']);
    expect(await once()).toBe(0);
    server.level = 3;
    const third = agent();
    expect(await third.ended).toBe(0);
    expect(third.lines.flatMap(({ step }) => step ?? [])).toHaveLength(7);
    expect(await cvm.slots()).toEqual([3]);
    server.level = 2;
    const outdated = agent();
    expect(await outdated.ended).toBe(10);
    expect(outdated.lines.at(-1)?.code).toBe('SVN_BELOW_FLOOR');
  });

  test('with rekey: advise it says so and leaves the disk as it is', async () => {
    await once();
    server.level = 3;
    const { ended, lines } = agent({ rekey: 'advise' });
    expect(await ended).toBe(0);
    expect(lines.map(({ msg }) => msg)).toContain('re-key advised');
    expect(await cvm.slots()).toEqual([1]);
  });

  test.each<ErrorCode>(['UNAVAILABLE', 'NOT_ALLOWED'])(
    'a re-key that ends in %s does not keep the disk shut',
    async (code) => {
      await once();
      server.level = 3;
      server.keys.failNext = { method: 'update', code, tookEffect: false };
      const { ended, lines } = agent();
      expect(await ended).toBe(0);
      expect(lines).toContainEqual(expect.objectContaining({ msg: 're-key failed', code }));
      expect(await once()).toBe(0);
      expect(await cvm.slots()).toEqual([3]);
    },
  );

  test('a configured KeyID is re-allocated on an unformatted disk', async () => {
    await once();
    const keyId = [...server.keys.keys.keys()].at(-1)!;
    expect(await once({ key_id: keyId, disk: { path: 'disk2', backend: 'volume' } })).toBe(0);
    expect(server.keys.calls.filter((call) => call.startsWith('alloc'))).toEqual([
      'alloc',
      `alloc ${keyId}`,
    ]);
  });

  test('an answer that is lost on the way is asked for again, and makes no second key', async () => {
    const before = server.keys.keys.size;
    for (const method of ['alloc', 'confirm'] as const) {
      server.keys.failNext = { method, code: 'UNAVAILABLE', tookEffect: true };
      const { ended, lines } = agent();
      expect(await ended).toBe(0);
      expect(lines.map(({ msg }) => msg)).toContain('trying again');
    }
    expect(server.keys.keys.size).toBe(before + 1);
  });

  test('the key is handed over in a file, or by a socket, and then forgotten here', async () => {
    expect(await once({ deliver: { kind: 'file', path: 'key' }, disk: undefined })).toBe(0);
    const file = readFileSync(cvm.path('key'));
    expect(file.length).toBe(32);
    // The one copy that is meant to be.
    writeFileSync(cvm.path('key'), '');
    const { ended } = agent({ deliver: { kind: 'socket', path: 'key.sock' } });
    while (!existsSync(cvm.path('key.sock'))) await new Promise((r) => setImmediate(r));
    const chunks: Buffer[] = [];
    connect(cvm.path('key.sock')).on('data', (chunk: Buffer) => chunks.push(chunk));
    expect(await ended).toBe(0);
    expect(Buffer.concat(chunks).length).toBe(32);
  });
});

describe('why the agent gives up, and its exit code', () => {
  test.each<[ErrorCode, number]>([
    ['POLICY_MEASUREMENT', 10],
    ['NO_POLICY', 10],
    ['SVN_BELOW_FLOOR', 10],
  ])('%s of the Key Server: %i, without another try', async (code, expected) => {
    server.misbehaviour.refuse = new CvmpError(code, 'refused');
    const before = server.handshakes;
    expect(await once()).toBe(expected);
    expect(server.handshakes).toBe(before + 1);
  });

  test('a Key Server that is not in the config document: 11', async () => {
    const other = await SessionServer.start();
    await cvm.launch(other.configDocument());
    await other.close();
    expect(await once()).toBe(11);
  });

  test('a policy that the tenant did not sign: 11, and the disk stays unformatted', async () => {
    server.policy = { ...server.policy, tenantId: 'other' };
    expect(await once()).toBe(11);
    expect(await cvm.slots()).toBeUndefined();
  });

  test('hardware that binds another config document: 12, before anybody is spoken to', async () => {
    await cvm.launch(server.configDocument(), new Uint8Array(32).fill(1));
    const before = server.handshakes;
    expect(await once()).toBe(12);
    expect(server.handshakes).toBe(before);
    writeFileSync(cvm.path('config.cbor'), 'something else');
    expect(await once()).toBe(12);
  });

  test('a disk header that the agent did not write: 13, before anybody is spoken to', async () => {
    writeFileSync(cvm.path('disk'), new Uint8Array(1 << 20).fill(7));
    const before = server.handshakes;
    expect(await once()).toBe(13);
    expect(server.handshakes).toBe(before);
  });

  test('no TSM: 14', async () => {
    await cvm.stop();
    expect(await once()).toBe(14);
  });

  test('a Key Server that stays away beyond the deadline: 15', async () => {
    const idle = createServer();
    await new Promise<void>((resolve) => idle.listen(0, '127.0.0.1', resolve));
    const { port } = idle.address() as { port: number };
    await new Promise((resolve) => idle.close(resolve));
    const retry = { initial_ms: 1, max_ms: 1, deadline_ms: 0 };
    expect(await once({ key_server_address: `127.0.0.1:${port}`, retry })).toBe(15);
  });

  test('nowhere to hand the key to: 16', async () => {
    expect(await once({ deliver: { kind: 'file', path: '/nonexistent/key' } })).toBe(16);
  });

  test('told to end before it began: 17', async () => {
    const { stop, ended } = agent({}, { once: false });
    stop.abort();
    expect(await ended).toBe(17);
  });

  test('no config document: 2', async () => {
    expect(await once({ config_document_file: 'none' })).toBe(2);
  });
});

describe('a Key Server that comes back', () => {
  test('is met again, and the status says so meanwhile', async () => {
    await server.close();
    let wake = () => {};
    const sleep = () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      });
    const { ended } = agent({}, { sleep });
    expect(await phaseReached(AgentPhase.RETRYING)).toBe('UNAVAILABLE');
    await server.listen();
    wake();
    expect(await ended).toBe(0);
  });
});

describe('lease (protocol.md s.6.5)', () => {
  /** An agent whose sleeps the test ends one by one. */
  function leased(change: object = {}) {
    const sleeps: { readonly ms: number; readonly wake: () => void }[] = [];
    const waiters: (() => void)[] = [];
    const sleep = (ms: number) =>
      new Promise<void>((resolve, reject) => {
        sleeps.push({ ms, wake: resolve });
        waiters.shift()?.();
        running.stop.signal.addEventListener('abort', () => {
          reject(new CvmpError('CANCELLED', 'told to end'));
        });
      });
    const running = agent(change, { sleep, once: false });
    const nextSleep = async () => {
      if (sleeps.length === 0) await new Promise<void>((resolve) => waiters.push(resolve));
      return sleeps.shift()!;
    };
    return { ...running, nextSleep };
  }

  test('the agent attests again before it ends, and takes a raised level', async () => {
    const { ended, stop, nextSleep } = leased();
    const first = await nextSleep();
    expect(first.ms).toBeGreaterThan(0.6 * server.leaseMs);
    expect(first.ms).toBeLessThan(0.8 * server.leaseMs);
    const { handshakes, attestations } = server;
    server.level = 2;
    first.wake();
    await nextSleep();
    // On the stream that it has (s.6.5).
    expect([server.handshakes, server.attestations]).toEqual([handshakes, attestations + 1]);
    expect(await cvm.slots()).toEqual([2]);
    stop.abort();
    expect(await ended).toBe(0);
  });

  test('without a disk the same key is fetched again, not a new one', async () => {
    const change = { disk: undefined, deliver: { kind: 'file', path: 'key' } };
    const { ended, stop, nextSleep } = leased(change);
    (await nextSleep()).wake();
    await nextSleep();
    writeFileSync(cvm.path('key'), '');
    expect(server.keys.calls.map((call) => call.split(' ')[0])).toEqual([
      'alloc',
      'confirm',
      'acquire',
      'confirm',
    ]);
    stop.abort();
    expect(await ended).toBe(0);
  });

  test('a refusal is told to who asks; the agent stays and asks no more', async () => {
    const { ended, stop, nextSleep, lines } = leased();
    const sleep = await nextSleep();
    server.misbehaviour.refuse = new CvmpError('POLICY_MEASUREMENT', 'no longer admitted');
    sleep.wake();
    expect(await phaseReached(AgentPhase.REFUSED)).toBe('POLICY_MEASUREMENT');
    expect(lines.at(-1)).toMatchObject({ msg: 'lease ends', code: 'POLICY_MEASUREMENT' });
    stop.abort();
    expect(await ended).toBe(0);
  });

  test('a Key Server that cannot be reached is asked again later', async () => {
    const retry = { initial_ms: 1, max_ms: 1, deadline_ms: 0 };
    const { ended, stop, nextSleep, lines } = leased({ retry });
    await nextSleep();
    await server.close();
    // What it waits before it goes back: not with all others at one instant.
    const back = await nextSleep();
    expect(back.ms).toBeLessThan(30_000);
    expect(lines.at(-1)?.msg).toBe('session lost');
    back.wake();
    const again = await nextSleep();
    expect(lines.at(-1)?.msg).toBe('lease not renewed');
    await server.listen();
    again.wake();
    await nextSleep();
    stop.abort();
    expect(await ended).toBe(0);
  });
});
