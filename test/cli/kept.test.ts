import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConnectRouter, createRouterTransport } from '@connectrpc/connect';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Connect, errorReport, serverApis } from '#cli/api.js';
import { forgetKept, keptFileOf, readKept } from '#cli/audit/kept.js';
import type { Profile } from '#cli/profile/profile.js';
import { AuditService } from '#gen/cvmp/v1/audit_pb.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { FakeLog } from '../fakes/log.js';
import { refusalOf } from '../refusal.js';
import { temporaryFolder } from '../run-folder.js';
import { type FakeTenant, fakeTenant } from './fake-servers.js';

let tenant: FakeTenant;
let profile: Profile;
let log: FakeLog;
let shown: number;

beforeAll(async () => {
  tenant = await fakeTenant();
});
beforeEach(() => {
  profile = { ...tenant.profile, file: join(temporaryFolder('kept'), 'cvmp.yaml') };
  log = new FakeLog(tenant.identityKey, 'one', 'two', 'three');
  shown = 0;
});

/** One command that lists policies; what the server answers is the log's. */
async function list(): Promise<string> {
  const routes = ({ service }: ConnectRouter) => {
    service(PolicyService, { listKeyPolicies: () => ({}) });
    service(AuditService, {
      async getCheckpoint({ knownCheckpoint }) {
        const known = knownCheckpoint.length === 0 ? [] : [knownCheckpoint];
        shown += known.length;
        const { checkpoint, path } = await log.continueFrom(known);
        return { checkpoint: checkpoint.signed, consistencyPath: [...path] };
      },
    });
  };
  const connect: Connect = (_, authorize) => ({
    transport: createRouterTransport(routes, { transport: { interceptors: [authorize] } }),
    close: () => undefined,
  });
  const apis = serverApis(profile, connect, () => 1_800_000_000_000, { holdToLog: true });
  try {
    await apis.policies().listKeyPolicies({});
    return 'accepted';
  } catch (error) {
    return errorReport(error).code;
  }
}

const kept = () => readKept(profile.file, profile.keyServer!.identityKey)?.size;

describe('a tenant holds the Key Server to what it said before (protocol.md s.6.4)', () => {
  test('the newest checkpoint is kept beside the profile, and shown at the next call', async () => {
    expect(await list()).toBe('accepted');
    expect(kept()).toBe(3);
    expect(shown).toBe(1);
    log.add('four');
    expect(await list()).toBe('accepted');
    expect(kept()).toBe(4);
  });

  test.each<[string, readonly string[]]>([
    ['is shorter', ['one', 'two']],
    ['is another', ['one', '2', 'three']],
    ['went another way', ['one', '2', 'three', 'four', 'five']],
  ])('a server whose log %s is refused before anything is asked of it', async (_, records) => {
    await list();
    log = new FakeLog(tenant.identityKey, ...records);
    expect(await list()).toBe('LOG_INCONSISTENT');
    expect(kept()).toBe(3);
  });

  test('a loss is taken by forgetting, which leaves the proof of it', async () => {
    await list();
    log = new FakeLog(tenant.identityKey, 'one');
    const lost = readKept(profile.file, profile.keyServer!.identityKey)!;
    const file = forgetKept(profile.file, lost);
    expect(existsSync(file)).toBe(true);
    expect(await list()).toBe('accepted');
    expect(kept()).toBe(1);
  });

  test('a damaged file is told of, not passed over', async () => {
    await list();
    const file = keptFileOf(profile.file);
    writeFileSync(file, readFileSync(file, 'utf8').replace(/.{20}\n$/, '\n'));
    expect(await refusalOf(() => kept())).toBe('CONFIG');
    expect(await list()).toBe('CONFIG');
  });
});
