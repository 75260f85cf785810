import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, onTestFinished, test } from 'vitest';
import { toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { makeSigner } from '../../fakes/callers.js';
import { RawAgent } from '../../fakes/raw-agent.js';
import { canary } from '../../run-folder.js';
import { admittedGuest } from './admitted-guest.js';
import { KeyServerFolder } from './process.js';

describe('cvmp-key-server', () => {
  test('init makes store, keys and certificate, once; secrets are for their owner alone', async () => {
    const folder = await KeyServerFolder.make();
    const init = await folder.run('init', '--self-signed', 'localhost');
    expect(init).toMatchObject({ code: 0, stderr: '' });
    expect(init.stdout).toContain(`identity thumbprint: ${toHex(thumbprint(folder.identity))}`);
    for (const secret of ['master.key', 'tls.key']) {
      expect(statSync(join(folder.path, secret)).mode & 0o077).toBe(0);
    }
    const second = await folder.run('init');
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/^cvmp-key-server: error: .*\n {2}hint: /);
  });

  test('without init it does not serve, and makes nothing', async () => {
    const folder = await KeyServerFolder.make();
    const { code, stderr } = await folder.run('serve');
    expect(code).toBe(1);
    expect(stderr).toContain('there is no vault');
    expect(existsSync(join(folder.path, 'store'))).toBe(false);
  });

  test('SIGTERM stops it in order; a restart has the same identity and tenants', async () => {
    const folder = await KeyServerFolder.initialised();
    const acme = await makeSigner('acme');
    let server = await folder.serve();
    await server.register(acme);
    const policies = server.client(PolicyService, acme);
    expect((await policies.listKeyPolicies({})).policies).toEqual([]);
    expect(await server.end('SIGTERM')).toBe(0);
    server = await folder.serve();
    expect((await server.client(PolicyService, acme).listKeyPolicies({})).policies).toEqual([]);
    const stranger = server.client(PolicyService, await makeSigner('acme'));
    const refused = await stranger.listKeyPolicies({}).catch(ConnectError.from);
    expect((refused as ConnectError).code).toBe(Code.Unauthenticated);
    await server.end('SIGTERM');
  });
});

interface Acknowledged {
  readonly keyId: Uint8Array;
  readonly securityKey: Uint8Array;
  floor: number;
}

describe('kill -9 of the Key Server (issue: tests)', () => {
  test('during allocations and updates: nothing acknowledged is lost, floors are never lower', async () => {
    const folder = await KeyServerFolder.initialised();
    const acme = await makeSigner('acme');
    let server = await folder.serve();
    const launched = await admittedGuest(folder, server, acme);
    const attest = async () => {
      const options = { ...launched, address: server.address, ca: folder.certificate };
      const agent = await RawAgent.connect(options);
      onTestFinished(() => agent.close());
      await agent.attest();
      return agent;
    };
    const acknowledged: Acknowledged[] = [];
    for (let round = 0; round < 4; round++) {
      const agents = await Promise.all([attest(), attest(), attest()]);
      const before = acknowledged.length;
      let killed: Promise<unknown> | undefined;
      const noted = () => {
        const raised = acknowledged.slice(before).filter(({ floor }) => floor > 2).length;
        if (raised >= 8 + round) killed ??= server.end('SIGKILL');
      };
      await Promise.all(agents.map((agent) => work(agent, acknowledged, noted)));
      await killed;
      server = await folder.serve();
      const auditor = await attest();
      for (const { keyId, securityKey, floor } of acknowledged) {
        const first = { case: 'keyAcquire', value: { keyId, svn: 1 } } as const;
        const answer = await auditor.ask(first);
        if (answer.case !== 'keyAcquire') throw new Error(JSON.stringify(answer));
        expect(answer.value.securityKey).toEqual(securityKey);
        expect(answer.value.svnFloor).toBeGreaterThanOrEqual(floor);
      }
    }
    expect(acknowledged.length).toBeGreaterThan(30);
    await server.end('SIGTERM');
  });
});

/** Allocates, confirms and raises until the server is gone; notes what was acknowledged. */
async function work(agent: RawAgent, acknowledged: Acknowledged[], noted: () => void) {
  try {
    for (;;) {
      const made = await agent.ask({ case: 'keyAlloc', value: {} });
      if (made.case !== 'keyAlloc') throw new Error(`refused: ${made.case}`);
      const { keyId, securityKey, kcv } = made.value;
      canary(securityKey);
      const entry: Acknowledged = { keyId, securityKey, floor: 1 };
      acknowledged.push(entry);
      await agent.ask({ case: 'keyConfirm', value: { keyId, svn: 1, kcv } });
      for (let targetSvn = 2; targetSvn <= 4; targetSvn++) {
        const raised = await agent.ask({ case: 'keyUpdate', value: { keyId, targetSvn } });
        if (raised.case !== 'keyUpdate') throw new Error(`refused: ${raised.case}`);
        entry.floor = raised.value.newFloor;
        noted();
      }
    }
  } catch (end) {
    if (typeof end !== 'object' || end === null || !('status' in end)) throw end;
  }
}
