import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { beforeAll, describe, expect, test } from 'vitest';
import { createKeyFile } from '#cli/profile/key-file.js';
import { toHex } from '#core/bytes.js';
import { ecPublicKey } from '#core/cose/key.js';
import { demandQuorum, signTogether } from '#core/cose/quorum.js';
import { signCheckpoint, signerName } from '#core/log/checkpoint.js';
import { encodeLogRecord } from '#core/log/record.js';
import { leafDigest, nodeDigest } from '#core/log/tree.js';
import { crypto } from '#crypto';
import {
  DestructionReceiptSchema,
  KeyAdminService,
  KeyDestructionOrderSchema,
  type KeyInfoSchema,
  KeyState,
} from '#gen/cvmp/v1/key_admin_pb.js';
import { destructionOrderType, destructionReceiptType } from '#wire/key-orders.js';
import { commandLine } from './command-line.js';
import { type FakeTenant, fakeServers, fakeTenant } from './fake-servers.js';

let tenant: FakeTenant;
beforeAll(async () => {
  tenant = await fakeTenant();
});

const keyId = new Uint8Array(16).fill(0xab);
const id = toHex(keyId);
const at = (second: number) => timestampFromMs(1_795_300_000_000 + second * 1000);
const info = (changes: MessageInitShape<typeof KeyInfoSchema> = {}) => ({
  keyId,
  state: KeyState.ACTIVE,
  revision: 2n,
  svnFloor: 1,
  svnRetired: 1,
  epoch: 1,
  epochs: [{ epoch: 1, created: at(0), confirmed: at(1) }],
  stateSince: at(1),
  policyId: 'web',
  cvmName: 'web-1',
  length: 32,
  created: at(0),
  released: at(9),
  ...changes,
});

type Handlers = Readonly<Record<string, (request: never) => unknown>>;

function run(argv: readonly string[], handlers: Handlers, answers?: readonly string[]) {
  const servers = fakeServers(tenant.profile, ({ service }) => {
    service(KeyAdminService, { getKey: () => ({ key: info() }), ...handlers } as never);
  });
  return commandLine(argv, {
    servers: servers.apis,
    profile: tenant.profile,
    ...(answers === undefined ? {} : { answers }),
  });
}

describe('changes of a key', () => {
  test.each([
    ['suspend', 'suspendKey', {}],
    ['resume', 'resumeKey', {}],
    ['compromised', 'markKeyCompromised', {}],
    ['rotate', 'rotateKey', { agentsRetireEpochs: false }],
    ['rotate --agents-retire', 'rotateKey', { agentsRetireEpochs: true }],
    ['retire-epoch --below 2', 'retireKeyEpochs', { below: 2 }],
    ['cancel-destroy', 'cancelDestroy', {}],
  ])('key %s names the key and the revision that was shown', async (verb, method, more) => {
    const asked: unknown[] = [];
    const handler = (request: unknown) => {
      asked.push(request);
      return { key: info({ revision: 3n }) };
    };
    const [name, ...options] = verb.split(' ');
    const argv = ['key', name!, id, ...options, '--yes'];
    const line = await run(argv, { [method]: handler });
    expect(line.terminal.stderr).toBe('');
    expect(line.code).toBe(0);
    expect(asked).toMatchObject([{ keyId, expectedRevision: 2n, ...more }]);
    expect(line.terminal.stdout).toMatch(/^revision: +3$/m);
  });

  test('what may cost something is asked for, and a no does nothing', async () => {
    let calls = 0;
    const suspendKey = () => {
      calls += 1;
      return { key: info() };
    };
    const no = await run(['key', 'suspend', id], { suspendKey }, ['n']);
    expect(no.terminal.stderr).toMatch(/KeyID: +abab/);
    expect(no.terminal.stderr).toContain('CANCELLED');
    expect([no.code, calls]).toEqual([1, 0]);
    const nobody = await run(['key', 'suspend', id], { suspendKey });
    expect([nobody.code, calls]).toEqual([2, 0]);
    const yes = await run(['key', 'suspend', id], { suspendKey }, ['y']);
    expect([yes.code, calls]).toEqual([0, 1]);
    expect(yes.terminal.stdout).toContain(`cvmp key resume ${id}`);
  });

  test('--json is the record as the server has it then', async () => {
    const resumeKey = () => ({ key: info({ state: KeyState.ACTIVE }) });
    const line = await run(['key', 'resume', id, '--json'], { resumeKey });
    expect(line.json()).toMatchObject({ key: { key_id: id, state: 'active', revision: '2' } });
  });

  test('key list tells of compromised keys and pending destructions', async () => {
    const epochs = [{ epoch: 1, created: at(0), compromised: true }];
    const pending = info({ state: KeyState.DESTROY_PENDING, destroyDue: at(60) });
    const listKeys = () => ({ keys: [info({ epochs }), pending] });
    const line = await run(['key', 'list'], { listKeys });
    expect(line.terminal.stdout).toContain('active, compromised');
    expect(line.terminal.stdout).toContain('destroy-pending');
  });
});

describe('destruction', () => {
  test('key destroy signs an order over the key as it was shown', async () => {
    let signed = new Uint8Array();
    const destroyKey = (request: { signedOrder: Uint8Array }) => {
      signed = new Uint8Array(request.signedOrder);
      return { key: info({ state: KeyState.DESTROY_PENDING, destroyDue: at(3600) }) };
    };
    const argv = ['key', 'destroy', id, '--reason', 'gone', '--not-before', '2027-01-01', '--yes'];
    const line = await run(argv, { destroyKey });
    expect(line.terminal.stderr).toBe('');
    const rule = { signers: [tenant.publicKey], threshold: 1 };
    const { payload } = await demandQuorum(signed, destructionOrderType, rule);
    const order = fromBinary(KeyDestructionOrderSchema, payload);
    expect(order).toMatchObject({ tenantId: 'acme', keyId, expectedRevision: 2n, reason: 'gone' });
    expect(order.notBefore?.seconds).toBe(BigInt(Date.UTC(2027, 0, 1) / 1000));
    expect(line.terminal.stdout).toContain(`cvmp key cancel-destroy ${id}`);
  });

  test('several sign an order one after the other, then it is sent', async () => {
    const file = join(tenant.folder, 'order.signed');
    const bobFile = join(tenant.folder, 'bob.pem');
    const bob = await createKeyFile(bobFile, 'P-256');
    expect((await run(['key', 'order', id, '--out', file], {})).code).toBe(0);
    const also = await commandLine(['key', 'order', file, '--key', bobFile, '--yes', '--json']);
    expect(also.json().signers).toHaveLength(2);
    let signed = new Uint8Array();
    const destroyKey = (request: { signedOrder: Uint8Array }) => {
      signed = new Uint8Array(request.signedOrder);
      return { key: info({ state: KeyState.DESTROY_PENDING }) };
    };
    const sent = await run(['key', 'destroy', file], { destroyKey }, ['yes']);
    expect(sent.terminal.stderr).toMatch(/destroys: +abab/);
    expect(sent.code).toBe(0);
    const signers = [tenant.publicKey, ecPublicKey('P-256', bob.publicPoint)];
    await demandQuorum(signed, destructionOrderType, { signers, threshold: 2 });
    const twice = await commandLine(['key', 'order', file, '--key', bobFile, '--yes']);
    expect(twice.terminal.stderr).toContain('ALREADY_EXISTS');
  });

  test('a file that is no order is told of', async () => {
    const file = join(tenant.folder, 'notes.txt');
    writeFileSync(file, 'shopping');
    const line = await run(['key', 'destroy', file, '--yes'], {});
    expect(line.terminal.stderr).toContain('neither a KeyID nor a signed order');
  });
});

describe('receipts', () => {
  /** In a log of two records, of which the second is that of the destruction. */
  async function receipt(key = tenant.identityKey, operation = 'key_destroy') {
    const event = { operation, tenantId: 'acme', keyId, requestId: 'agenda' };
    const previous = new Uint8Array(32);
    const record = encodeLogRecord(event, { index: 2, time: 0, sequence: 1, previous });
    const other = leafDigest(new Uint8Array([1]));
    const checkpoint = await signCheckpoint(key, {
      size: 2,
      root: nodeDigest(other, leafDigest(record)),
      stateVersion: 2,
      time: 0,
      keyServer: signerName(key),
    });
    const logged = { index: 2n, record, inclusionPath: [other] };
    const times = { created: at(0), destroyed: at(90), ordered: at(30) };
    const message = create(DestructionReceiptSchema, {
      tenantId: 'acme',
      time: at(100),
      keys: [{ keyId, ...times, epochs: 2, logged }],
      checkpoint: checkpoint.signed,
      vaultLastCopied: at(50),
    });
    const payload = toBinary(DestructionReceiptSchema, message);
    return signTogether([key], destructionReceiptType, payload);
  }

  test('key receipt keeps what the Key Server signed; verify needs no server', async () => {
    const file = join(tenant.folder, 'web.receipt');
    const signedReceipt = await receipt();
    const line = await run(['key', 'receipt', id, '--out', file], {
      getReceipt: () => ({ signedReceipt }),
    });
    expect(line.terminal.stderr).toBe('');
    expect(new Uint8Array(readFileSync(file))).toEqual(signedReceipt);
    const verify = ['key', 'receipt', 'verify', file];
    const checked = await commandLine(verify, { profile: tenant.profile });
    expect(checked.terminal.stdout).toContain('the signature holds');
    expect(checked.terminal.stdout).toContain('its root keys of epochs 1 to 2');
    expect(checked.terminal.stdout).toContain('they still hold its erase key');
    const json = await commandLine([...verify, '--json'], { profile: tenant.profile });
    expect(json.json()).toMatchObject({ valid: true, receipt: { keys: [{ key_id: id }] } });
  });

  test('one whose log proves something else is refused', async () => {
    const file = join(tenant.folder, 'other.receipt');
    writeFileSync(file, await receipt(tenant.identityKey, 'key_suspend'));
    const line = await commandLine(['key', 'receipt', 'verify', file], {
      profile: tenant.profile,
    });
    expect(line.terminal.stderr).toContain('LOG_INCONSISTENT');
  });

  test('one by another key, or with a byte changed, is refused', async () => {
    const forged = [await receipt(await crypto.generateEcKey('P-256')), await receipt()];
    forged[1]![forged[1]!.length - 70]! ^= 1;
    for (const [i, bytes] of forged.entries()) {
      const file = join(tenant.folder, `forged-${i}`);
      writeFileSync(file, bytes);
      const line = await commandLine(['key', 'receipt', 'verify', file], {
        profile: tenant.profile,
      });
      expect(line.terminal.stderr).toMatch(/SIGNATURE_INVALID|WRONG_SIGNER|MALFORMED/);
      expect(line.code).toBe(1);
    }
  });
});
