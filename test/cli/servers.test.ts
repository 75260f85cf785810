import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { beforeAll, describe, expect, test } from 'vitest';
import { readKeyFile } from '#cli/profile/key-file.js';
import { toHex } from '#core/bytes.js';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { AuditService } from '#gen/cvmp/v1/audit_pb.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { KeyAdminService, KeyState } from '#gen/cvmp/v1/key_admin_pb.js';
import { CvmService, CvmState } from '#gen/cvmp/v1/platform_pb.js';
import { TenantService } from '#gen/cvmp/v1/tenant_pb.js';
import { commandLine } from './command-line.js';
import { type FakeTenant, fakeServers, fakeTenant, tokenClaims } from './fake-servers.js';

let tenant: FakeTenant;
beforeAll(async () => {
  tenant = await fakeTenant();
});

type Routes = Parameters<typeof fakeServers>[1];

function run(argv: string, routes: Routes, more: { readonly signal?: AbortSignal } = {}) {
  const servers = fakeServers(tenant.profile, routes);
  const line = commandLine(argv.split(' '), {
    servers: servers.apis,
    profile: tenant.profile,
    ...more,
  });
  return { line, calls: servers.calls };
}

const web = {
  cvmId: 'c1',
  name: 'web',
  state: CvmState.RUNNING,
  tee: TeeType.SEV_SNP,
  created: timestampFromMs(0),
  bootCount: 2,
};
const agent = (phase: AgentPhase, more: { bootCount?: number; code?: string } = {}) => ({
  cvm: { ...web, bootCount: more.bootCount ?? 2, agent: { phase, code: more.code ?? '' } },
});

describe('calls', () => {
  test("carry a short-lived token of the tenant's key for the server that is called", async () => {
    const { line, calls } = run('cvm list', ({ service }) => {
      service(CvmService, { cVMList: () => ({ cvms: [web] }) });
    });
    expect((await line).code).toBe(0);
    expect(calls).toMatchObject([{ server: 'cloud', method: 'CVMList' }]);
    const claims = await tokenClaims(calls[0]!.token, tenant.publicKey, 'cloud');
    expect(claims).toMatchObject({ iss: 'acme', sub: 'acme', aud: 'cloud', scope: ['tenant'] });
    expect(claims.exp - claims.iat).toBe(300);
  });

  test("of operators carry a token of the operator's key", async () => {
    const { line, calls } = run('tenant list --server key-server', ({ service }) => {
      service(TenantService, { listTenants: () => ({ tenants: [{ tenantId: 'acme' }] }) });
    });
    expect((await line).terminal.stdout).toContain('acme');
    const key = await readKeyFile(tenant.profile.operatorKey!);
    const operator = ecPublicKey(key.curve, key.publicPoint);
    const claims = await tokenClaims(calls[0]!.token, operator, 'ks');
    expect(claims).toMatchObject({ iss: 'operator', scope: ['operator'] });
  });

  test('a refusal shows code, field and hint of its detail, and its request id in JSON', async () => {
    const { line } = run('cvm show web --json', ({ service }) => {
      service(CvmService, {
        cVMGet: () => {
          const value = { code: 'NOT_FOUND', field: 'cvm', next: 'List.', requestId: 'r-1' };
          const detail = { desc: ErrorDetailSchema, value };
          throw new ConnectError('NOT_FOUND: no such CVM', Code.NotFound, undefined, [detail]);
        },
      });
    });
    const { code, terminal, json } = await line;
    expect(code).toBe(1);
    expect(terminal.stderr).toBe('cvmp: error: NOT_FOUND no such CVM (cvm)\nhint: List.\n');
    expect(json()).toEqual({
      error: {
        code: 'NOT_FOUND',
        message: 'no such CVM',
        field: 'cvm',
        hint: 'List.',
        request_id: 'r-1',
      },
    });
  });

  test('a refusal without detail shows its gRPC status', async () => {
    const { line } = run('cvm list', () => undefined);
    expect((await line).terminal.stderr).toMatch(/^cvmp: error: UNIMPLEMENTED /);
  });

  test('lists follow the pages until --limit', async () => {
    const routes: Routes = ({ service }) => {
      service(KeyAdminService, {
        listKeys: ({ pageToken, pageSize }) => {
          const from = Number(pageToken || '0');
          const keys = Array.from({ length: Math.min(pageSize, 2) }, (_, i) => ({
            keyId: new Uint8Array(16).fill(from + i),
            state: KeyState.PRE_ACTIVE,
          }));
          return { keys, nextPageToken: from >= 4 ? '' : String(from + 2) };
        },
      });
    };
    const all = await run('key list --json', routes).line;
    expect((all.json().keys as unknown[]).length).toBe(6);
    expect(all.json().keys).toMatchObject([
      { key_id: '00'.repeat(16), state: 'pre-active' },
      ...Array(5).fill({}),
    ]);
    const three = await run('key list --limit 3 --json', routes).line;
    expect((three.json().keys as unknown[]).length).toBe(3);
  });
});

describe('commands', () => {
  test('feature list shows the five features of the draft (s.3.1)', async () => {
    const { line } = run('feature list', ({ service }) => {
      service(CvmService, {
        cVMFeature: () => ({
          featureSetId: new Uint8Array(32),
          teeFeatures: [
            {
              tee: TeeType.SEV_SNP,
              simulated: true,
              secureBoot: { supported: true },
              liveMigration: {},
              auxilaryFirmware: { supported: true, formats: ['ovmf'] },
              svn: { idBlock: true, svnMax: 9 },
            },
          ],
          images: [{ name: 'sample-v1', digest: new Uint8Array(32).fill(7) }],
        }),
      });
    });
    const { stdout } = (await line).terminal;
    for (const text of [
      /TEE: +sev-snp, simulated/,
      /SecureBoot: +yes/,
      /LiveMigration: +no/,
      /AuxilaryFirmware: +yes \(ovmf\)/,
      /BIOS: +no/,
      /SVN: +yes \(by ID block, up to 9\)/,
      /sample-v1 +07070707/,
    ]) {
      expect(stdout).toMatch(text);
    }
  });

  test('audit list shows refusals with every failed check', async () => {
    const { line, calls } = run('audit list --refused', ({ service }) => {
      service(AuditService, {
        listAuditEntries: ({ refusedOnly }) => ({
          entries: refusedOnly
            ? [
                {
                  index: 5n,
                  operation: 'attest',
                  code: 'POLICY_MEASUREMENT',
                  failedChecks: [
                    { code: 'POLICY_MEASUREMENT', message: 'found aa' },
                    { code: 'POLICY_VMPL', message: 'found 1' },
                  ],
                },
              ]
            : [],
        }),
      });
    });
    const { stdout } = (await line).terminal;
    expect(stdout).toContain('refused POLICY_MEASUREMENT');
    expect(stdout).toContain('POLICY_MEASUREMENT: found aa; POLICY_VMPL: found 1');
    expect(calls.length).toBe(1);
  });

  test('cvm start --wait follows this boot until the key is delivered', async () => {
    const { line } = run('cvm start web --wait --json', ({ service }) => {
      service(CvmService, {
        cVMStart: () => ({ cvm: web }),
        async *cVMWatch() {
          yield agent(AgentPhase.REFUSED, { bootCount: 1 });
          yield agent(AgentPhase.ATTESTING);
          yield agent(AgentPhase.KEY_RELEASED);
          yield agent(AgentPhase.DELIVERED);
        },
      });
    });
    const { code, terminal, json } = await line;
    expect(code).toBe(0);
    expect(json()).toMatchObject({ outcome: 'delivered', cvm: { name: 'web', state: 'running' } });
    expect(terminal.stderr).toBe('web: attesting\nweb: key released\nweb: delivered\n');
  });

  test('a refused agent is exit code 1 with its code', async () => {
    const { line } = run('cvm start web --wait', ({ service }) => {
      service(CvmService, {
        cVMStart: () => ({ cvm: web }),
        async *cVMWatch() {
          yield agent(AgentPhase.REFUSED, { code: 'SVN_BELOW_FLOOR' });
        },
      });
    });
    const { code, terminal } = await line;
    expect(code).toBe(1);
    expect(terminal.stdout).toMatch(/agent: +refused: SVN_BELOW_FLOOR/);
  });

  test('a guest that ended is heard out: its last status may come after its end', async () => {
    const { line } = run('cvm start web --wait --json', ({ service }) => {
      service(CvmService, {
        cVMStart: () => ({ cvm: web }),
        async *cVMWatch() {
          yield { cvm: { ...web, state: CvmState.FAILED, message: 'exit code 10' } };
          const { cvm } = agent(AgentPhase.REFUSED, { code: 'NO_POLICY' });
          yield { cvm: { ...cvm, state: CvmState.FAILED } };
        },
      });
    });
    const { code, json } = await line;
    expect(code).toBe(1);
    expect(json()).toMatchObject({ outcome: 'refused', cvm: { agent: { code: 'NO_POLICY' } } });
  });

  test('waiting ends by --timeout-seconds', async () => {
    const { line } = run('cvm start web --wait --timeout-seconds 1', ({ service }) => {
      service(CvmService, {
        cVMStart: () => ({ cvm: web }),
        async *cVMWatch(_, { signal }) {
          yield agent(AgentPhase.RETRYING);
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
        },
      });
    });
    const { code, terminal } = await line;
    expect(code).toBe(1);
    expect(terminal.stderr).toContain('UNAVAILABLE web: the Key Agent was not done after 1 s');
  });

  test('cvm watch prints a line a change and ends well by Ctrl-C', async () => {
    const interrupt = new AbortController();
    const { line } = run(
      'cvm watch --json',
      ({ service }) => {
        service(CvmService, {
          async *cVMWatch(_, { signal }) {
            yield agent(AgentPhase.ATTESTING);
            yield agent(AgentPhase.DELIVERED);
            interrupt.abort();
            await new Promise((resolve) => signal.addEventListener('abort', resolve));
          },
        });
      },
      { signal: interrupt.signal },
    );
    const { code, terminal } = await line;
    expect(code).toBe(0);
    const lines = terminal.stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(lines).toMatchObject([
      { cvm: { agent: { phase: 'attesting' } } },
      { cvm: { agent: { phase: 'delivered' } } },
    ]);
  });

  test('cvm stop, cvm delete --yes, key show pass on what was typed', async () => {
    const asked: unknown[] = [];
    const routes: Routes = ({ service }) => {
      service(CvmService, {
        cVMStop: ({ cvm, force }) => {
          asked.push({ cvm, force });
          return { cvm: web };
        },
        cVMDelete: ({ cvm }) => {
          asked.push({ deleted: cvm });
          return {};
        },
      });
      service(KeyAdminService, {
        getKey: ({ keyId }) => {
          asked.push(toHex(keyId));
          return { key: { keyId, state: KeyState.ACTIVE, svnFloor: 2 } };
        },
      });
    };
    expect((await run('cvm stop web --force', routes).line).code).toBe(0);
    expect((await run('cvm delete web --yes', routes).line).terminal.stdout).toBe(
      'web is deleted\n',
    );
    const shown = await run(`key show ${'0f'.repeat(16)}`, routes).line;
    expect(shown.terminal.stdout).toMatch(/SVN floor: +2\n/);
    expect(asked).toEqual([{ cvm: 'web', force: true }, { deleted: 'web' }, '0f'.repeat(16)]);
  });

  test('tenant register tells both servers the key of the profile', async () => {
    const seen: unknown[] = [];
    const { line, calls } = run('tenant register', ({ service }) => {
      service(TenantService, {
        registerTenant: ({ tenant: given }) => {
          seen.push({ id: given?.tenantId, key: toHex(given?.signingKey ?? new Uint8Array()) });
          return { tenant: given! };
        },
      });
    });
    expect((await line).code).toBe(0);
    const key = toHex(encodeCoseKey(tenant.publicKey));
    expect(seen).toEqual([
      { id: 'acme', key },
      { id: 'acme', key },
    ]);
    expect(calls.map((call) => call.server)).toEqual(['ks', 'cloud']);
  });
});
