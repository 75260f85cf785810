import type { DescService } from '@bufbuild/protobuf';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { concat } from '#core/bytes.js';
import { ecPublicKey } from '#core/cose/key.js';
import { openSign1 } from '#core/cose/sign1.js';
import { crypto } from '#crypto';
import { AuditService } from '#gen/cvmp/v1/audit_pb.js';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { KeyAdminService, KeyState } from '#gen/cvmp/v1/key_admin_pb.js';
import { PolicyResponseSchema, PolicyService, SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { policyResponseType, policyType, signTyped } from '#wire/signed-policy.js';
import { bearer, type Signer } from '../../fakes/callers.js';
import { wrongFields } from '../../wrong-fields.js';
import { audience } from '../host/harness.js';
import { startKeyServer, type TestKeyServer } from './harness.js';
import { levels, policyMessage, signedPolicy } from './state.js';

function client<S extends DescService>(s: TestKeyServer, service: S, caller: Signer): Client<S> {
  return createClient(
    service,
    createGrpcTransport({
      baseUrl: `https://localhost:${s.t.host.grpcAddress.split(':')[1]}`,
      nodeOptions: { ca: s.t.certificate },
      interceptors: [
        (next) => async (request) => {
          request.header.set('authorization', await bearer(caller, audience, Date.now()));
          return next(request);
        },
      ],
    }),
  );
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason) => ConnectError.from(reason),
  );
  if (error === undefined) return 'accepted';
  const detail = error.findDetails(ErrorDetailSchema)[0];
  return `${Code[error.code]} ${detail?.code ?? ''} ${detail?.field ?? ''}`.trim();
}

describe('PolicyService (draft-01 s.3.3.1, Figure 3)', () => {
  test('a policy is set, answered with the signature of the Key Server, and read back as signed', async () => {
    const s = await startKeyServer();
    const policies = client(s, PolicyService, s.t.acme);
    const signed = await signedPolicy(s.tenantKey);
    const { signedResponse, policyResponse } = await policies.setKeyPolicy({
      signedPolicy: signed,
    });
    expect(policyResponse).toMatchObject({ policyId: 'web', version: 1n, accepted: true });
    const identity = ecPublicKey(s.state.identity.curve, s.state.identity.publicPoint);
    const { payload } = await openSign1(signedResponse, identity, { typ: policyResponseType });
    expect(fromBinary(PolicyResponseSchema, payload)).toEqual(policyResponse);
    expect(policyResponse?.digest).toEqual(crypto.hash('sha256', signed));

    const stored = await policies.getKeyPolicy({ policyId: 'web' });
    expect(stored.signedPolicy).toEqual(signed);
    expect(stored.policy).toEqual(policyMessage());
    const { policies: list } = await policies.listKeyPolicies({});
    expect(list).toMatchObject([{ policyId: 'web', version: 1n, svnFloor: 1, levels: 4 }]);
  });

  test('a dry run says what would happen and stores nothing', async () => {
    const s = await startKeyServer();
    const policies = client(s, PolicyService, s.t.acme);
    const signed = await signedPolicy(s.tenantKey);
    const { policyResponse } = await policies.setKeyPolicy({ signedPolicy: signed, dryRun: true });
    expect(policyResponse?.accepted).toBe(false);
    expect((await policies.listKeyPolicies({})).policies).toEqual([]);
  });

  test('what is forged, of another tenant, or malformed is refused and changes nothing', async () => {
    const s = await startKeyServer();
    const policies = client(s, PolicyService, s.t.acme);
    const payload = toBinary(SetKeyPolicySchema, policyMessage());
    const stranger = await crypto.generateEcKey('P-256');
    const right = await signedPolicy(s.tenantKey);
    const cases: readonly (readonly [string, Uint8Array, string])[] = [
      [
        'another key',
        await signTyped(stranger, policyType, payload),
        'Unauthenticated SIGNATURE_INVALID',
      ],
      [
        'a flipped byte of the payload',
        right.map((octet, i) => (i === right.length - 70 ? octet ^ 1 : octet)),
        'Unauthenticated SIGNATURE_INVALID',
      ],
      [
        'another tenant inside',
        await signedPolicy(s.tenantKey, { tenantId: 'globex' }),
        'InvalidArgument INVALID_FIELD',
      ],
      ['no COSE at all', crypto.randomBytes(100), 'InvalidArgument'],
      ['trailing bytes', concat(right, Uint8Array.of(0)), 'InvalidArgument'],
      [
        'levels that contradict each other',
        await signedPolicy(s.tenantKey, { levels: levels(4).reverse() }),
        'InvalidArgument POLICY_INVALID',
      ],
      [
        'a version that follows nothing',
        await signedPolicy(s.tenantKey, { version: 2n }),
        'Aborted POLICY_CHAIN',
      ],
    ];
    for (const [what, signed, expected] of cases) {
      const got = await refusal(policies.setKeyPolicy({ signedPolicy: signed }));
      expect(`${what}: ${got}`).toContain(`${what}: ${expected}`);
    }
    expect((await policies.listKeyPolicies({})).policies).toEqual([]);
  });

  test('every fault of every field inside a signed policy is refused by name', async () => {
    const s = await startKeyServer();
    const policies = client(s, PolicyService, s.t.acme);
    const surprises: string[] = [];
    const wrongs = wrongFields(SetKeyPolicySchema);
    for (const { field, what, bytes } of wrongs) {
      const signed = await signTyped(s.tenantKey, policyType, bytes);
      if (signed.length > 262_144) continue;
      const got = await refusal(policies.setKeyPolicy({ signedPolicy: signed }));
      if (!new RegExp(`^InvalidArgument INVALID_FIELD .*${escaped(field)}$`).test(got)) {
        surprises.push(`${field} ${what}: ${got}`);
      }
    }
    expect(surprises).toEqual([]);
    expect(wrongs.length).toBeGreaterThan(100);
  }, 120_000);

  test("a tenant sees its own policies only, and another one's is NOT_FOUND", async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const other = client(s, PolicyService, s.t.globex);
    expect((await other.listKeyPolicies({})).policies).toEqual([]);
    expect(await refusal(other.getKeyPolicy({ policyId: 'web' }))).toBe('NotFound NOT_FOUND');
    const own = client(s, PolicyService, s.t.acme);
    for (const version of [2n, 2n ** 63n]) {
      expect(await refusal(own.getKeyPolicy({ policyId: 'web', version }))).toContain('NOT_FOUND');
    }
  });
});

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

describe('KeyAdminService and AuditService', () => {
  test('a tenant learns everything about its keys but the keys; another one learns nothing', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    const agent = await s.agent(await s.launch());
    await agent.attest();
    const made = await agent.ask({ case: 'keyAlloc', value: {} });
    if (made.case !== 'keyAlloc') throw new Error(made.case);
    const { keyId, securityKey } = made.value;

    const keys = client(s, KeyAdminService, s.t.acme);
    const { key } = await keys.getKey({ keyId });
    expect(key).toMatchObject({ state: KeyState.PRE_ACTIVE, svnFloor: 1, policyId: 'web' });
    expect(key?.cvmName).toBe('web-1');
    const { keys: list } = await keys.listKeys({});
    expect(list).toEqual([key]);

    const entries = await client(s, AuditService, s.t.acme).listAuditEntries({});
    const operations = entries.entries.map((entry) => `${entry.operation} ${entry.granted}`);
    expect(operations.slice(0, 3)).toEqual([
      'key_alloc true',
      'attest true',
      'set_key_policy true',
    ]);
    const hidden = Buffer.from(securityKey).toString('latin1');
    const shown = [list, entries.entries].map((all) =>
      all
        .flatMap((item) => Object.values(item))
        .map((v) => (v instanceof Uint8Array ? Buffer.from(v).toString('latin1') : String(v))),
    );
    expect(shown.flat().join('\n')).not.toContain(hidden);

    const other = client(s, KeyAdminService, s.t.globex);
    expect((await other.listKeys({})).keys).toEqual([]);
    expect(await refusal(other.getKey({ keyId }))).toBe(
      await refusal(other.getKey({ keyId: new Uint8Array(16) })),
    );
    const foreign = await client(s, AuditService, s.t.globex).listAuditEntries({});
    expect(foreign.entries.map((entry) => entry.operation)).not.toContain('key_alloc');
  });

  test('refusals alone, page by page', async () => {
    const s = await startKeyServer();
    await s.setPolicy();
    for (let i = 0; i < 3; i++) {
      const agent = await s.agent(await s.launch({ cvmName: 'db-1' }));
      await agent.attest().catch(() => undefined);
    }
    const audit = client(s, AuditService, s.t.acme);
    const first = await audit.listAuditEntries({ refusedOnly: true, pageSize: 2 });
    expect(first.entries.map((entry) => entry.code)).toEqual(['NO_POLICY', 'NO_POLICY']);
    const rest = await audit.listAuditEntries({
      refusedOnly: true,
      pageSize: 2,
      pageToken: first.nextPageToken,
    });
    expect(rest.entries.length).toBe(1);
    expect(rest.nextPageToken).toBe('');
    const indexes = [...first.entries, ...rest.entries].map((entry) => entry.index);
    expect(indexes).toEqual([...indexes].sort((a, b) => Number(b - a)));
    expect(await refusal(audit.listAuditEntries({ pageToken: 'no token' }))).toBe(
      'InvalidArgument INVALID_FIELD page_token',
    );
  });
});
