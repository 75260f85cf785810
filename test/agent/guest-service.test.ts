import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, test } from 'vitest';
import type { Attester } from '#agent/attester/attester.js';
import { type GuestListener, guestRoutes, listenForGuests } from '#agent/guest-service.js';
import { StatusBoard } from '#agent/status.js';
import { CvmpError } from '#core/errors.js';
import { decodeCmw } from '#core/rats/cmw.js';
import { tenantActivationProof, tenantVerifyReportData } from '#core/rats/tenant-verify.js';
import { parseSnpCollection } from '#core/snp/evidence.js';
import { crypto } from '#crypto';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { guestClient } from '#server/cvm-platform/guests/client.js';
import { snpAttester } from '../fakes/configfs-tsm.js';
import { temporaryFolder } from '../run-folder.js';

const configDocument = crypto.randomBytes(80);
const endings: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

const genuineAttester = () => snpAttester(configDocument);

async function serve(attester: Attester = genuineAttester()) {
  let now = 1000;
  const status = new StatusBoard(() => now++);
  const path = join(temporaryFolder('guest'), 's');
  const routes = guestRoutes({ attester, configDocument, agentBuild: 'test', status });
  const listener: GuestListener = await listenForGuests(path, routes);
  // The platform's own client, over the stream that the platform relays.
  const client = guestClient(() => connect(path), 2 << 20);
  endings.push(
    () => listener.close(),
    () => client.close(),
  );
  return { status, path, listener, service: client.service };
}

async function errorOf(work: Promise<unknown>): Promise<ConnectError> {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(ConnectError);
  return error as ConnectError;
}

describe('GuestService.GuestEvidence', () => {
  test("gives evidence over the tenant's nonce, under the label of its own", async () => {
    const { service } = await serve();
    const nonce = crypto.randomBytes(32);
    const { evidence } = await service.guestEvidence({ nonce });
    expect(evidence!.agentBuild).toBe('test');
    expect(new Uint8Array(evidence!.configDocument)).toEqual(configDocument);
    const { report } = parseSnpCollection(decodeCmw(evidence!.cmwCollection));
    expect(report.reportData).toEqual(tenantVerifyReportData(nonce, configDocument));
  });

  test.each([0, 31, 65])('a nonce of %i bytes is INVALID_FIELD', async (length) => {
    const { service } = await serve();
    const error = await errorOf(service.guestEvidence({ nonce: new Uint8Array(length) }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(ErrorDetailSchema)[0]).toMatchObject({
      code: 'INVALID_FIELD',
      field: 'nonce',
    });
  });

  test('a failure tells code and fixed sentence, not what the guest knows of it', async () => {
    const evidence = () => Promise.reject(new CvmpError('TSM_UNAVAILABLE', 'inner detail'));
    const { service } = await serve({ profiles: ['snp'], evidence, close: () => {} });
    const error = await errorOf(service.guestEvidence({ nonce: new Uint8Array(32) }));
    expect(error.code).toBe(Code.Unavailable);
    expect(error.message).not.toContain('inner detail');
    expect(error.findDetails(ErrorDetailSchema)[0]?.code).toBe('TSM_UNAVAILABLE');
  });

  test('a fault without a code is INTERNAL and says nothing', async () => {
    const evidence = () => Promise.reject(new TypeError('a bug'));
    const { service } = await serve({ profiles: ['snp'], evidence, close: () => {} });
    const error = await errorOf(service.guestEvidence({ nonce: new Uint8Array(32) }));
    expect(error.code).toBe(Code.Internal);
    expect(error.message).not.toContain('a bug');
  });

  test('a provider that asks without end is held to eight reports at once', async () => {
    const waiting: ((evidence: Uint8Array) => void)[] = [];
    const evidence = () => new Promise<Uint8Array>((resolve) => waiting.push(resolve));
    const { service } = await serve({ profiles: ['snp'], evidence, close: () => {} });
    const calls = Array.from({ length: 8 }, () =>
      service.guestEvidence({ nonce: new Uint8Array(32) }),
    );
    while (waiting.length < 8) await new Promise((resolve) => setImmediate(resolve));
    const error = await errorOf(service.guestEvidence({ nonce: new Uint8Array(32) }));
    expect(error.code).toBe(Code.ResourceExhausted);
    for (const resolve of waiting) resolve(new Uint8Array(1));
    await Promise.all(calls);
  });
});

describe('GuestService.GuestActivate', () => {
  const credential = {
    nonce: crypto.randomBytes(32),
    credentialBlob: crypto.randomBytes(70),
    encryptedSecret: crypto.randomBytes(66),
  };

  test('proves that the TPM opened the credential, and gives the secret to nobody', async () => {
    const secret = crypto.randomBytes(32);
    const given = secret.slice();
    const { service } = await serve({
      ...genuineAttester(),
      activateCredential: async () => given,
    });
    const { proof } = await service.guestActivate(credential);
    const { nonce, ...sealed } = credential;
    expect(new Uint8Array(proof)).toEqual(tenantActivationProof(secret, nonce, sealed));
    expect(given).toEqual(new Uint8Array(32));
  });

  test('a CVM without such a TPM is AK_UNTRUSTED', async () => {
    const { service } = await serve();
    const error = await errorOf(service.guestActivate(credential));
    expect(error.findDetails(ErrorDetailSchema)[0]?.code).toBe('AK_UNTRUSTED');
  });

  test.each([{ nonce: new Uint8Array(31) }, { credentialBlob: new Uint8Array(1025) }])(
    'a field of a wrong length is INVALID_FIELD',
    async (wrong) => {
      const { service } = await serve();
      const error = await errorOf(service.guestActivate({ ...credential, ...wrong }));
      expect(error.findDetails(ErrorDetailSchema)[0]?.code).toBe('INVALID_FIELD');
    },
  );
});

describe('GuestService.GuestStatus', () => {
  test('gives the current status, then each change', async () => {
    const { service, status } = await serve();
    status.enter('attesting');
    const stream = service.guestStatus({})[Symbol.asyncIterator]();
    expect((await stream.next()).value).toMatchObject({ phase: AgentPhase.ATTESTING, code: '' });
    const keyId = crypto.randomBytes(16);
    status.enter('delivered', { keyId, svn: 2, svnFloor: 1, level: 3, diskAction: 'opened' });
    expect((await stream.next()).value).toMatchObject({
      phase: AgentPhase.DELIVERED,
      keyId,
      svn: 2,
      svnFloor: 1,
      level: 3,
      diskAction: 'opened',
    });
    status.enter('refused', { code: 'SVN_BELOW_FLOOR', message: 'm' });
    expect((await stream.next()).value).toMatchObject({
      phase: AgentPhase.REFUSED,
      code: 'SVN_BELOW_FLOOR',
      message: 'm',
      keyId,
    });
    await stream.return?.();
  });

  test('several watch at once, and one that leaves disturbs nobody', async () => {
    const { service, status } = await serve();
    const streams = [1, 2].map(() => service.guestStatus({})[Symbol.asyncIterator]());
    for (const stream of streams) await stream.next();
    await streams[0]!.return?.();
    status.enter('retrying');
    expect((await streams[1]!.next()).value?.phase).toBe(AgentPhase.RETRYING);
    await streams[1]!.return?.();
  });
});

describe('guest socket', () => {
  test('is for its owner alone, takes the place of a left one, and goes away', async () => {
    const path = join(temporaryFolder('guest'), 's');
    writeFileSync(path, '');
    const listener = await listenForGuests(path, () => {});
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await listener.close();
    expect(existsSync(path)).toBe(false);
  });

  test('closing tells watchers the last status, then ends their streams', async () => {
    const { service, status, listener } = await serve();
    const stream = service.guestStatus({})[Symbol.asyncIterator]();
    await stream.next();
    status.enter('refused', { code: 'POLICY_MEASUREMENT' });
    await Promise.all([
      listener.close(),
      stream.next().then(({ value }) => expect(value?.code).toBe('POLICY_MEASUREMENT')),
    ]);
    expect((await stream.next()).done).toBe(true);
  });

  test('a place where none can be is CONFIG', async () => {
    const work = listenForGuests('/nonexistent/guest', () => {});
    await expect(work).rejects.toMatchObject({ code: 'CONFIG', field: 'guest_socket' });
  });
});
