import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configDocument } from '#cli/cvm/launch.js';
import { completePolicy, parsePolicy } from '#cli/policy/policy-file.js';
import { signPolicy } from '#cli/policy/signed-policy.js';
import { readKeyFile } from '#cli/profile/key-file.js';
import { readProfile } from '#cli/profile/profile.js';
import { toHex } from '#core/bytes.js';
import { crypto } from '#crypto';
import { CVMFeatureResponseSchema, CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import { DevStack, repository, run } from '../e2e/dev-stack.js';
import { temporaryFolder } from '../run-folder.js';

// Clients that share nothing with us but proto/, or not even that.

function works(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const python = ['/usr/bin/python3', 'python3'].find((path) =>
  works(path, '-c', 'import grpc, grpc_tools'),
);
const grpcurl = works('grpcurl', '-version');

let stack: DevStack;
let signedPolicy: Uint8Array;
const tokens = { platform: '', keyServer: '' };

async function token(audience: string): Promise<string> {
  const ran = await stack.cvmp('token', '--audience', audience);
  expect(ran).toMatchObject({ code: 0 });
  return ran.stdout.trim();
}

beforeAll(async () => {
  stack = await DevStack.start();
  tokens.platform = await token('cvm-platform');
  tokens.keyServer = await token('key-server');
  const profile = await readProfile(stack.report.profile);
  const written = parsePolicy(readFileSync(stack.report.policy, 'utf8'), 'policy.yaml');
  const policy = completePolicy(written, stack.report.tenant, undefined);
  signedPolicy = await signPolicy(await readKeyFile(profile.tenantKey!), policy!);
});

afterAll(async () => {
  expect(await stack?.stop()).toBe(0);
});

describe.skipIf(python === undefined)(
  'a Python client made from proto/ (skipped without python3-grpcio and python3-grpc-tools)',
  () => {
    test('drives features, policy and create (draft-01 Figures 1 to 3)', async () => {
      const name = 'python-made';
      const job = {
        folder: temporaryFolder('python'),
        proto: join(repository, 'proto'),
        ca: stack.caFile,
        platform: stack.report.platform.grpc,
        key_server: stack.report.key_server.grpc,
        platform_token: tokens.platform,
        key_server_token: tokens.keyServer,
        signed_policy: toHex(signedPolicy),
        policy_id: parsePolicy(readFileSync(stack.report.policy, 'utf8'), 'p').message.policyId,
        request_id: toHex(crypto.randomBytes(16)),
        name,
        config_document: toHex(await configDocument(await readProfile(stack.report.profile), name)),
      };
      const script = join(repository, 'test/foreign/client.py');
      const ran = await run(python!, [script], JSON.stringify(job));
      expect(ran.stderr).toBe('');
      expect(JSON.parse(ran.stdout)).toMatchObject({
        nonce: 'python',
        tees: [1],
        without_token: { status: 'UNAUTHENTICATED' },
        wrong_field: { status: 'INVALID_ARGUMENT', message: expect.stringContaining('cvm') },
        policy_accepted: true,
        policy_stored_as_received: true,
        created: [name],
        idempotent: true,
        // Launched without an ID block, which the sample policy asks for: refused, with the code.
        agent_phase: 6,
      });
    });
  },
);

describe.skipIf(!grpcurl)('grpcurl, with nothing but reflection (skipped without grpcurl)', () => {
  const call = (address: string, ...args: string[]) =>
    run('grpcurl', ['-cacert', stack.caFile, ...args.slice(0, -1), address, args.at(-1)!]);

  test('lists and describes the services', async () => {
    const listed = await call(stack.report.platform.grpc, 'list');
    expect(listed.stdout.split('\n')).toEqual(
      expect.arrayContaining(['cvmp.v1.CvmService', 'cvmp.v1.TenantService']),
    );
    const described = await run('grpcurl', [
      '-cacert',
      stack.caFile,
      stack.report.key_server.grpc,
      'describe',
      'cvmp.v1.PolicyService',
    ]);
    expect(described.stdout).toContain('rpc SetKeyPolicy');
  });

  test('calls CvmService and PolicyService with a bearer token', async () => {
    const features = await call(
      stack.report.platform.grpc,
      '-H',
      `authorization: Bearer ${tokens.platform}`,
      '-d',
      '{"nonce": "AAEC"}',
      'cvmp.v1.CvmService/CVMFeature',
    );
    expect(features.stderr).toBe('');
    const answer = fromJson(CVMFeatureResponseSchema, JSON.parse(features.stdout) as JsonValue);
    expect([...answer.nonce]).toEqual([0, 1, 2]);
    const policies = await call(
      stack.report.key_server.grpc,
      '-H',
      `authorization: Bearer ${tokens.keyServer}`,
      'cvmp.v1.PolicyService/ListKeyPolicies',
    );
    expect(policies).toMatchObject({ code: 0, stderr: '' });
  });

  test('is told the code of a refusal', async () => {
    const refused = await call(stack.report.platform.grpc, 'cvmp.v1.CvmService/CVMList');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/Unauthenticated[\s\S]*TOKEN_MISSING/);
  });

  test('asks grpc.health.v1', async () => {
    for (const { grpc } of [stack.report.platform, stack.report.key_server]) {
      const health = await call(
        grpc,
        '-import-path',
        join(repository, 'node_modules/grpc-health-check/proto'),
        '-proto',
        'health/v1/health.proto',
        'grpc.health.v1.Health/Check',
      );
      expect(JSON.parse(health.stdout)).toEqual({ status: 'SERVING' });
    }
  });
});

describe('web clients (Connect and gRPC-web)', () => {
  /** fetch that trusts this stack's certificates and says where its page comes from. */
  const fetchFrom =
    (origin: string | undefined) =>
    (url: unknown, init?: RequestInit): Promise<Response> =>
      new Promise((resolve, reject) => {
        const headers = Object.fromEntries(new Headers(init?.headers).entries());
        const sent = httpsRequest(
          String(url),
          {
            method: init?.method ?? 'GET',
            ca: readFileSync(stack.caFile),
            headers: { ...headers, ...(origin === undefined ? {} : { origin }) },
          },
          (answer) => {
            const chunks: Buffer[] = [];
            answer.on('data', (chunk: Buffer) => chunks.push(chunk));
            answer.on('end', () => {
              const fields = Object.entries(answer.headers).map(
                ([name, value]) => [name, String(value)] as [string, string],
              );
              resolve(
                new Response(Buffer.concat(chunks), {
                  status: answer.statusCode ?? 0,
                  headers: fields,
                }),
              );
            });
          },
        );
        sent.on('error', reject);
        sent.end(init?.body === undefined ? undefined : (init.body as Uint8Array | string));
      });

  const bearer = (text: string) => ({ headers: { authorization: `Bearer ${text}` } });

  test.each([
    ['Connect', createConnectTransport],
    ['gRPC-web', createGrpcWebTransport],
  ] as const)('a %s client calls CvmService and PolicyService', async (_name, transport) => {
    const at = (baseUrl: string) => transport({ baseUrl, fetch: fetchFrom(baseUrl) });
    const cvms = createClient(CvmService, at(stack.report.platform.web));
    const features = await cvms.cVMFeature({}, bearer(tokens.platform));
    expect(features.teeFeatures.map(({ simulated }) => simulated)).toEqual([true]);
    const policies = createClient(PolicyService, at(stack.report.key_server.web));
    await policies.listKeyPolicies({}, bearer(tokens.keyServer));
    await expect(policies.listKeyPolicies({})).rejects.toThrow(/unauthenticated/);
  });

  test('plain HTTP/1.1 with JSON needs no library at all', async () => {
    const url = `${stack.report.platform.web}/cvmp.v1.CvmService/CVMList`;
    const post = (headers: Record<string, string>, body: string, origin?: string) =>
      fetchFrom(origin)(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
      });
    const listed = await post({ authorization: `Bearer ${tokens.platform}` }, '{}');
    expect(listed.status).toBe(200);
    const page = 'https://nobody.example';
    const strange = await post({ authorization: `Bearer ${tokens.platform}` }, '{}', page);
    expect(strange.status).toBe(403);
    expect(strange.headers.get('access-control-allow-origin')).toBeNull();
    const refused = await post({}, '{}');
    expect(refused.status).toBe(401);
    expect(JSON.stringify(await refused.json())).toContain('unauthenticated');
    const garbage = await post({ authorization: `Bearer ${tokens.platform}` }, '{"no_such": 1}');
    expect(garbage.status).toBe(400);
  });
});
