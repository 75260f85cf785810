import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { beforeAll, describe, expect, test } from 'vitest';
import { createKeyFile } from '#cli/profile/key-file.js';
import { toHex } from '#core/bytes.js';
import { encodeCoseKey, thumbprint } from '#core/cose/key.js';
import { signRotation } from '#core/cose/key-rotation.js';
import { peekSigned } from '#core/cose/quorum.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { crypto } from '#crypto';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import {
  PolicyResponseSchema,
  PolicyService,
  type SetKeyPolicy,
  SetKeyPolicySchema,
} from '#gen/cvmp/v1/policy_pb.js';
import { policyResponseType, policyType, signTyped } from '#wire/signed-policy.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';
import { type FakeTenant, fakeServers, fakeTenant } from './fake-servers.js';

const yaml = `
policy_id: web
cvm_names: [web-*]
appraisal:
  allow_simulated: true
  snp:
    measurements:
      - digest: ${'0c'.repeat(48)}
levels:
  - n: 1
    snp: {}
svn_floor: 1
`;

let tenant: FakeTenant;
beforeAll(async () => {
  tenant = await fakeTenant();
});

/** A Key Server that keeps the policies of one tenant; `alter` plays a bad one. */
function keyServer(
  alter: {
    readonly response?: { policyId?: string; version?: bigint; digest?: Uint8Array };
    readonly other?: boolean;
  } = {},
) {
  const kept: { policy: SetKeyPolicy; signed: Uint8Array }[] = [];
  const servers = fakeServers(tenant.profile, ({ service }) => {
    service(PolicyService, {
      async setKeyPolicy({ signedPolicy, dryRun }) {
        const { payload } = peekSigned(signedPolicy, policyType);
        const policy = fromBinary(SetKeyPolicySchema, payload);
        if (!dryRun) kept.push({ policy, signed: signedPolicy });
        const policyResponse = create(PolicyResponseSchema, {
          policyId: policy.policyId,
          version: policy.version,
          digest: crypto.hash('sha256', signedPolicy),
          accepted: !dryRun,
          svnFloor: policy.svnFloor,
          warnings: ['a warning'],
          time: timestampFromMs(0),
          ...alter.response,
        });
        const key = alter.other ? tenant.tenantKey : tenant.identityKey;
        const signedResponse = await signTyped(
          key,
          policyResponseType,
          toBinary(PolicyResponseSchema, policyResponse),
        );
        return { signedResponse, policyResponse };
      },
      getKeyPolicy({ policyId, version }) {
        const found = [...kept]
          .reverse()
          .find(
            ({ policy }) =>
              policy.policyId === policyId && (version === 0n || policy.version === version),
          );
        if (found === undefined) {
          const detail = { desc: ErrorDetailSchema, value: { code: 'NOT_FOUND', next: 'Look.' } };
          throw new ConnectError('NOT_FOUND: none', Code.NotFound, undefined, [detail]);
        }
        return { signedPolicy: found.signed, policy: found.policy };
      },
    });
  });
  return { ...servers, kept };
}

function file(text: string): string {
  const path = join(tenant.folder, 'web.yaml');
  writeFileSync(path, text);
  return path;
}

const given = (servers: ReturnType<typeof keyServer>) => ({
  servers: servers.apis,
  profile: tenant.profile,
});

describe('policy set', () => {
  test('signs with the tenant key; tenant, version and prev_digest are filled in', async () => {
    const ks = keyServer();
    const first = await commandLine(['policy', 'set', file(yaml)], given(ks));
    expect(first.terminal.stderr).toBe('warning: a warning\n');
    expect(first.code).toBe(0);
    expect(first.terminal.stdout).toContain('web version 1');
    const changed = yaml.replace('allow_simulated: true', 'allow_simulated: false');
    const second = await commandLine(['policy', 'set', file(changed), '--json'], given(ks));
    expect(second.json()).toMatchObject({
      changed: true,
      response: { policy_id: 'web', version: '2', accepted: true },
    });
    expect(ks.kept.map(({ policy }) => [policy.tenantId, policy.version])).toEqual([
      ['acme', 1n],
      ['acme', 2n],
    ]);
    expect(ks.kept[0]!.policy.prevDigest).toEqual(new Uint8Array());
    expect(ks.kept[1]!.policy.prevDigest).toEqual(crypto.hash('sha256', ks.kept[0]!.signed));
  });

  test('a file that says what is in force changes nothing', async () => {
    const ks = keyServer();
    await commandLine(['policy', 'set', file(yaml)], given(ks));
    const again = await commandLine(['policy', 'set', file(`# again\n${yaml}`)], given(ks));
    expect(again.code).toBe(0);
    expect(again.terminal.stdout).toContain('nothing changed');
    expect(ks.kept.length).toBe(1);
  });

  test('version and prev_digest that are given stay as given', async () => {
    const ks = keyServer();
    const text = `${yaml}version: 7\nprev_digest: ${'ab'.repeat(32)}\n`;
    await commandLine(['policy', 'set', file(text)], given(ks));
    expect(ks.kept[0]!.policy.version).toBe(7n);
    expect(toHex(ks.kept[0]!.policy.prevDigest)).toBe('ab'.repeat(32));
  });

  test('--dry-run stores nothing and says so', async () => {
    const ks = keyServer();
    const { code, terminal } = await commandLine(
      ['policy', 'set', file(yaml), '--dry-run'],
      given(ks),
    );
    expect(code).toBe(0);
    expect(terminal.stdout).toContain('no, this was a dry run');
    expect(ks.kept).toEqual([]);
  });

  test('several sign one after the other, offline but the first; set sends what they signed', async () => {
    const ks = keyServer();
    const folder = temporaryFolder('policy-sign');
    const at = (name: string) => join(folder, name);
    const run = (...argv: string[]) => commandLine(argv, given(ks));
    const bob = await run('signer', 'init', 'bob', '--dir', folder, '--json');
    const quorums = `quorums: {set_policy: {threshold: 1, signers: [${String(bob.json().cose_key)}]}}`;
    await run('policy', 'sign', file(`${yaml}${quorums}`), '--out', at('web.signed'));
    const second = await commandLine(
      ['policy', 'sign', at('web.signed'), '--key', at('bob-key.pem'), '--json'],
      {},
    );
    expect(second.json().signers).toEqual([
      toHex(thumbprint(tenant.publicKey)),
      bob.json().thumbprint,
    ]);
    const again = await run('policy', 'sign', at('web.signed'));
    expect(again.terminal.stderr).toContain('ALREADY_EXISTS');
    expect((await run('policy', 'set', at('web.signed'))).code).toBe(0);
    expect(ks.kept[0]!.signed).toEqual(new Uint8Array(readFileSync(at('web.signed'))));
  });

  test('after a rotation what the old key signed is believed by its signed word, nothing else', async () => {
    const ks = keyServer();
    await commandLine(['policy', 'set', file(yaml)], given(ks));
    const folder = temporaryFolder('rotated');
    const next = await createKeyFile(join(folder, 'next-key.pem'), 'P-256');
    const profile = { ...tenant.profile, tenantKey: join(folder, 'next-key.pem') };
    const told = async (by: EcPrivateKey) => {
      const signedRotation = await signRotation('acme', by, next, 1);
      const earlierKeys = [{ signingKey: encodeCoseKey(tenant.publicKey), signedRotation }];
      const apis = {
        ...ks.apis,
        access: () =>
          ({ getAccess: async () => ({ access: { tenant: { earlierKeys } } }) }) as never,
      };
      return commandLine(['policy', 'show', 'web'], { servers: apis, profile });
    };
    expect((await told(tenant.tenantKey)).code).toBe(0);
    expect((await told(tenant.identityKey)).code).toBe(1);
  });

  const bad: readonly (readonly [
    what: string,
    alter: Parameters<typeof keyServer>[0],
    code: string,
  ])[] = [
    ['not signed by its identity key', { other: true }, 'SIGNATURE_INVALID'],
    ['about another policy', { response: { policyId: 'db' } }, 'SERVER_UNTRUSTED'],
    ['about another version', { response: { version: 9n } }, 'SERVER_UNTRUSTED'],
    ['about other bytes', { response: { digest: new Uint8Array(32) } }, 'SERVER_UNTRUSTED'],
  ];
  test.each(bad)('an answer that is %s is refused', async (_, alter, code) => {
    const answer = await commandLine(['policy', 'set', file(yaml)], given(keyServer(alter)));
    expect(answer.code).toBe(1);
    expect(answer.terminal.stdout).toBe('');
    expect(answer.terminal.stderr).toContain(`cvmp: error: ${code} `);
  });

  test('a file of another tenant, and one that breaks a field rule, never leave the machine', async () => {
    const ks = keyServer();
    for (const [text, field] of [
      [`${yaml}tenant_id: evil\n`, 'tenant_id'],
      [yaml.replace('policy_id: web', 'policy_id: Web'), 'policy_id'],
      [yaml.replace('svn_floor: 1', 'svn_floor: 65'), 'svn_floor'],
      [yaml.replace('0c'.repeat(48), '0c'), 'appraisal.snp.measurements[0].digest'],
    ] as const) {
      const { code, json } = await commandLine(['policy', 'set', file(text), '--json'], given(ks));
      expect(code).toBe(1);
      expect(json()).toMatchObject({ error: { code: 'INVALID_FIELD', field } });
    }
    expect(ks.calls.filter((call) => call.method === 'SetKeyPolicy')).toEqual([]);
  });
});

describe('policy show', () => {
  test('prints YAML that policy set takes back unchanged', async () => {
    const ks = keyServer();
    await commandLine(['policy', 'set', file(yaml)], given(ks));
    const shown = await commandLine(['policy', 'show', 'web'], given(ks));
    expect(shown.terminal.stdout).toMatch(/^# SHA-256 of the signed policy: [0-9a-f]{64}\n/);
    const again = await commandLine(['policy', 'set', file(shown.terminal.stdout)], given(ks));
    expect(again.code).toBe(0);
    const { policy } = ks.kept.at(-1)!;
    expect(toBinary(SetKeyPolicySchema, policy)).toEqual(
      toBinary(SetKeyPolicySchema, ks.kept[0]!.policy),
    );
  });

  test('a policy that this tenant did not sign is refused', async () => {
    const ks = keyServer();
    const payload = toBinary(SetKeyPolicySchema, create(SetKeyPolicySchema, { policyId: 'web' }));
    const signed = await signTyped(tenant.identityKey, policyType, payload);
    ks.kept.push({ policy: create(SetKeyPolicySchema, { policyId: 'web' }), signed });
    const { code, terminal } = await commandLine(['policy', 'show', 'web'], given(ks));
    expect(code).toBe(1);
    expect(terminal.stderr).toContain('SIGNATURE_INVALID');
  });

  test('one that is not there is NOT_FOUND', async () => {
    const { code, terminal } = await commandLine(['policy', 'show', 'web'], given(keyServer()));
    expect(code).toBe(1);
    expect(terminal.stderr).toContain('cvmp: error: NOT_FOUND');
  });
});

describe('policy check', () => {
  const rows: readonly (readonly [rule: string, from: string, to: string, message: string])[] = [
    ['a level that is not 1, 2, 3', 'n: 1', 'n: 2', 'levels[0].n'],
    ['a floor above the levels', 'svn_floor: 1', 'svn_floor: 2', 'svn_floor'],
    ['a field out of its range', 'svn_floor: 1', 'svn_floor: 65', 'svn_floor'],
    ['a digest of another length', '0c0c', '0c', 'appraisal.snp.measurements[0].digest'],
    ['a level without rules', '    snp: {}', '    name: a', 'levels[0].snp'],
  ];
  test.each(rows)('%s is refused with line and field', async (_, from, to, message) => {
    const text = yaml.replace(from, to);
    const { code, terminal } = await commandLine(['policy', 'check', file(text)]);
    expect(code).toBe(1);
    expect(terminal.stderr).toMatch(/web\.yaml:\d+: /);
    expect(terminal.stderr).toContain(`: ${message}: `);
  });

  test('says that a file is sound; one that cannot be read is wrong usage', async () => {
    const sound = await commandLine(['policy', 'check', file(yaml)]);
    expect([sound.code, sound.terminal.stdout]).toEqual([0, expect.stringContaining('is sound')]);
    expect((await commandLine(['policy', 'check', '/nowhere/p.yaml'])).code).toBe(2);
  });
});

describe('rules of every format, as people write them', () => {
  const head = 'policy_id: web\ncvm_names: [web-*]\nsvn_floor: 1\n';
  const check = (text: string) => commandLine(['policy', 'check', file(head + text)]);
  const pcr = '0b'.repeat(32);
  const boot = `boot: {references: [{pcrs: {4: ${pcr}, 11: ${pcr}}, image_svn: 2}], bank: sha256}`;
  const rows: [string, string, string][] = [
    [
      'TDX',
      `tdx: {references: [{mr_td: ${'0a'.repeat(48)}}], statuses: [SWHardeningNeeded]}`,
      'tdx: {tcb_date_min: 2025-01-01T00:00:00Z}',
    ],
    ['TPM', `tpm: {${boot}, ak_trust: [activated-credential]}`, 'tpm: {image_svn_min: 2}'],
    [
      'Azure',
      `azure_tdx: {hardware: {references: [{mr_td: ${'0a'.repeat(48)}}]}, ${boot}}`,
      'azure_tdx: {boot: {image_svn_min: 1}}',
    ],
    ['CCA', `cca: {references: [{initial_measurement: ${'0a'.repeat(32)}}]}`, 'cca: {}'],
  ];
  test.each(rows)('%s', async (_, appraisal, level) => {
    const text = `appraisal: {${appraisal}}\nlevels: [{n: 1, ${level}}]\n`;
    expect(await check(text)).toMatchObject({ code: 0 });
  });

  test('mistakes are named with line and field', async () => {
    const wrong = async (tpm: string) =>
      (await check(`levels: [{n: 1, tpm: {}}]\nappraisal:\n  tpm:\n    ${tpm}\n`)).terminal.stderr;
    const one = (pcrs: string) => `boot: {references: [{pcrs: {${pcrs}}}]}`;
    expect(await wrong(one(`x: ${pcr}`))).toContain('appraisal.tpm.boot.references[0].pcrs.x');
    expect(await wrong(one(`4: ${pcr}, 0x4: ${pcr}`))).toContain('comes twice');
    expect(await wrong(one(`24: ${pcr}`))).toMatch(/:7: .*pcrs\[24\]/);
    expect(await wrong(one('4: 0b'))).toContain('pcrs[4]');
  });
});
