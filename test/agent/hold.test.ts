import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { reconnectDelay, renewalDelay } from '#agent/provision/lease.js';
import type { AgentIo } from '#agent/run.js';
import { fromHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { NoticeKind } from '#gen/cvmp/v1/key_pb.js';
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
  server.keys.calls.length = 0;
  Object.assign(server.misbehaviour, { refuse: undefined, answer: undefined, grant: undefined });
  await cvm.launch(server.configDocument());
});
afterEach(() => cvm.stop());

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

/** Resolves when the agent's status is of this phase. */
async function phaseReached(wanted: AgentPhase): Promise<string> {
  await until(() => existsSync(cvm.path('guest')));
  const { service, close } = guestClient(() => connect(cvm.path('guest')), 1 << 20);
  try {
    for await (const { phase, code } of service.guestStatus({})) if (phase === wanted) return code;
    throw new Error('the agent ended before');
  } finally {
    close();
  }
}

/** An agent that has delivered its key and holds its session; its sleeps end by the test's word. */
async function holding(change: object = {}) {
  const sleeps: { readonly ms: number; readonly wake: () => void }[] = [];
  const stop = { signal: undefined as AbortSignal | undefined };
  const sleep: AgentIo['sleep'] = (ms) =>
    new Promise<void>((resolve, reject) => {
      sleeps.push({ ms, wake: resolve });
      stop.signal?.addEventListener('abort', () => reject(new CvmpError('CANCELLED', 'end')));
    });
  const running = runHere(cvm, server, change, { sleep, once: false });
  stop.signal = running.stop.signal;
  await until(() => sleeps.length > 0);
  const keyId = fromHex([...server.keys.keys.keys()].at(-1)!);
  const said = (msg: string) => running.lines.filter((line) => line.msg === msg).length;
  return { ...running, sleeps, keyId, said };
}

describe('what the agent does by itself (protocol.md s.6.4, s.6.5)', () => {
  test('the floor was raised: the disk is re-keyed, over the session that there is', async () => {
    const agent = await holding();
    server.level = 3;
    const { attestations } = server;
    server.notify({ kind: NoticeKind.POLICY_CHANGED, level: 3, svnFloor: 3 });
    await until(() => agent.said('re-key step done') === 6);
    await phaseReached(AgentPhase.DELIVERED);
    expect(await cvm.slots()).toEqual([3]);
    expect(server.attestations).toBe(attestations);
    agent.stop.abort();
    expect(await agent.ended).toBe(0);
  });

  test('with rekey: advise the disk stays as it is', async () => {
    const agent = await holding({ rekey: 'advise' });
    server.level = 3;
    server.notify({ kind: NoticeKind.POLICY_CHANGED, level: 3, svnFloor: 3 });
    await until(() => agent.said('re-key advised') === 1);
    expect(await cvm.slots()).toEqual([1]);
    agent.stop.abort();
    await agent.ended;
  });

  test('fresh evidence is asked for: it is given on the same stream', async () => {
    const agent = await holding();
    const { handshakes, attestations } = server;
    server.notify({ kind: NoticeKind.REATTEST_REQUIRED, code: 'REATTEST_REQUIRED' });
    await until(() => agent.sleeps.length === 2);
    expect([server.handshakes, server.attestations]).toEqual([handshakes, attestations + 1]);
    agent.stop.abort();
    await agent.ended;
  });

  test('access is lost by a policy, and had back by the next one', async () => {
    const agent = await holding();
    server.notify({ kind: NoticeKind.POLICY_CHANGED, level: 0, svnFloor: 1, code: 'POLICY_CHIP' });
    expect(await phaseReached(AgentPhase.REFUSED)).toBe('POLICY_CHIP');
    server.notify({ kind: NoticeKind.POLICY_CHANGED, level: 1, svnFloor: 1 });
    await phaseReached(AgentPhase.DELIVERED);
    agent.stop.abort();
    expect(await agent.ended).toBe(0);
  });

  test('its key is held and released again; another key is not its concern', async () => {
    const agent = await holding();
    server.notify({ kind: NoticeKind.KEY_DESTROYED, keyId: new Uint8Array(16).fill(9) });
    server.notify({ kind: NoticeKind.KEY_SUSPENDED, keyId: agent.keyId });
    expect(await phaseReached(AgentPhase.REFUSED)).toBe('KEY_SUSPENDED');
    server.notify({ kind: NoticeKind.KEY_RESUMED, keyId: agent.keyId });
    await phaseReached(AgentPhase.DELIVERED);
    agent.stop.abort();
    await agent.ended;
  });

  test('its key is destroyed: status, the tenant’s program, and the end where that is configured', async () => {
    const hook = cvm.path('hook');
    writeFileSync(hook, `#!/bin/sh\necho "$@" >> ${cvm.path('heard')}\n`);
    chmodSync(hook, 0o700);
    const agent = await holding({ on_key_loss: 'exit', notice_hook: 'hook' });
    server.notify({ kind: NoticeKind.KEY_SUSPENDED, keyId: agent.keyId });
    server.notify({ kind: NoticeKind.KEY_DESTROYED, keyId: agent.keyId });
    expect(await agent.ended).toBe(10);
    const id = Buffer.from(agent.keyId).toString('hex');
    expect(readFileSync(cvm.path('heard'), 'utf8').trim().split('\n')).toEqual([
      `key-suspended ${id} KEY_SUSPENDED`,
      `key-destroyed ${id} KEY_DESTROYED`,
    ]);
  });

  test('a program that fails, or is not there, does not stop the agent', async () => {
    const agent = await holding({ notice_hook: 'nowhere' });
    server.notify({ kind: NoticeKind.KEY_TAKEN_OVER, keyId: agent.keyId });
    expect(await phaseReached(AgentPhase.REFUSED)).toBe('INSTANCE_CONFLICT');
    await until(() => agent.said('hook failed') === 1);
    agent.stop.abort();
    expect(await agent.ended).toBe(0);
  });

  test('another chip signs its reports: it was migrated, and attests again', async () => {
    const agent = await holding({ migration_check_seconds: 60 });
    const watch = () => agent.sleeps.filter(({ ms }) => ms === 60_000);
    const { attestations } = server;
    watch().at(-1)!.wake();
    await until(() => watch().length === 2);
    expect(server.attestations).toBe(attestations);
    cvm.chipId = new Uint8Array(64).fill(2);
    watch().at(-1)!.wake();
    await until(() => server.attestations === attestations + 1);
    await until(() => watch().length === 3);
    expect(agent.said('the CVM was moved to another chip')).toBe(1);
    agent.stop.abort();
    await agent.ended;
  });

  test('the stream is lost: it comes back after a while of its own, with the same key', async () => {
    const agent = await holding();
    const { handshakes } = server;
    server.cut();
    await until(() => agent.sleeps.length === 2);
    agent.sleeps[1]!.wake();
    await until(() => agent.sleeps.length === 3);
    expect(server.handshakes).toBe(handshakes + 1);
    expect(server.keys.calls.filter((call) => call.startsWith('alloc'))).toHaveLength(1);
    agent.stop.abort();
    await agent.ended;
  });
});

describe('when the agent comes back', () => {
  test('well before the end of the lease, and spread', () => {
    const lease = 86_400_000;
    expect(renewalDelay(lease, 0, 0)).toBeCloseTo(0.7 * lease);
    expect(renewalDelay(lease, 0, 0.999)).toBeLessThan(0.9 * lease + 1);
  });

  test('after a lost stream within half a minute, or a tenth of what is left', () => {
    expect(reconnectDelay(86_400_000, 0, 0.5)).toBe(15_000);
    expect(reconnectDelay(10_000, 0, 0.999)).toBeLessThan(1000);
    expect(reconnectDelay(0, 10_000, 0.999)).toBe(0);
  });
});
