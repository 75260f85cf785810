import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { encode } from '#core/cbor/encode.js';
import { crypto } from '#crypto';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { type CVMWatchResponse, CvmState } from '#gen/cvmp/v1/platform_pb.js';
import { FakeGuest } from '../../fakes/guest.js';
import { temporaryFolder } from '../../run-folder.js';
import { createRequest, startService, told } from './service-harness.js';

describe('features (draft s.3.1, Figure 1)', () => {
  test('the answer has every feature of the draft, the images, and an id that names the offer', async () => {
    const { acme } = await startService();
    const nonce = new Uint8Array([1, 2, 3]);
    const answer = await acme.cVMFeature({ nonce });
    expect(answer.nonce).toEqual(nonce);
    expect(answer.featureSetId).toHaveLength(32);
    expect(answer.validUntil?.seconds).toBe(65n);
    expect(answer.images.map((image) => image.name)).toEqual(['v1', 'v2']);
    const [tee] = answer.teeFeatures;
    expect(tee).toMatchObject({
      tee: TeeType.SEV_SNP,
      simulated: true,
      product: 'Genoa',
      secureBoot: { supported: false },
      liveMigration: { supported: false },
      auxilaryFirmware: { supported: true, formats: ['ovmf'], bytesMax: 1024 },
      bios: { supported: false, settings: [] },
      svn: { idBlock: true, svnMax: 0xffff_ffff },
      configDigestBytes: 32,
      cvmsMax: 8,
      cvmsFree: 8,
    });
  });

  test('a filter leaves out other kinds and not the id; room for CVMs is no part of the id', async () => {
    const { acme } = await startService();
    const all = await acme.cVMFeature({});
    const filtered = await acme.cVMFeature({ teeTypes: [TeeType.TDX] });
    expect(filtered.teeFeatures).toEqual([]);
    expect(filtered.featureSetId).toEqual(all.featureSetId);
    await acme.cVMCreate(await createRequest(acme));
    const after = await acme.cVMFeature({});
    expect(after.featureSetId).toEqual(all.featureSetId);
    expect(after.teeFeatures[0]?.cvmsFree).toBe(7);
  });

  test('an image is described, with the firmware that its measurement covers', async () => {
    const { acme, folder } = await startService();
    const { images } = await acme.cVMFeature({});
    const digest = images[0]!.digest;
    const { image, firmware } = await acme.cVMImage({ digest });
    expect(crypto.hash('sha256', firmware)).toEqual(image?.firmwareDigest);
    const { firmwareDigest, kernelDigest, initrdDigest, cmdline } = image!;
    const parts = encode([firmwareDigest, kernelDigest, initrdDigest, cmdline]);
    expect(crypto.hash('sha256', parts)).toEqual(digest);
    expect(await told(acme.cVMImage({ digest: new Uint8Array(32) }))).toBe('IMAGE_UNKNOWN digest');
    writeFileSync(join(folder, 'v1', 'firmware'), 'changed');
    expect(await told(acme.cVMImage({ digest }))).toBe('IMAGE_UNKNOWN image_digest');
  });
});

describe('creation (draft s.3.2, Figure 2)', () => {
  test('the answer has the granted features and every launch input', async () => {
    const { acme } = await startService();
    const request = await createRequest(acme, { count: 2, shape: { vcpus: 2 } });
    const { cvms } = await acme.cVMCreate(request);
    expect(cvms.map((cvm) => cvm.name)).toEqual(['web-1', 'web-2']);
    const [cvm] = cvms;
    expect(cvm).toMatchObject({
      tenantId: 'acme',
      state: CvmState.DEFINED,
      tee: TeeType.SEV_SNP,
      configDocumentDigest: crypto.hash('sha256', new Uint8Array([0xa0])),
      shape: { vcpus: 2, memoryMib: 512, vcpuType: 'EPYC-v4' },
      bootCount: 0,
      launchInputs: {
        imageDigest: request.imageDigest,
        cmdline: 'quiet',
        vcpus: 2,
        vcpuType: 'EPYC-v4',
        vmmType: 'QEMU',
        guestPolicy: 0x30000n,
      },
    });
    expect(cvm?.predictedMeasurement).toHaveLength(48);
    expect(cvm?.created?.seconds).toBe(5n);
    const again = await acme.cVMCreate(request);
    expect(again.cvms).toEqual(cvms);
  });

  test.each([
    ['FEATURE_SET_STALE feature_set_id', { featureSetId: new Uint8Array(32) }],
    ['FEATURE_UNSUPPORTED tee', { tee: TeeType.TDX }],
    ['FEATURE_UNSUPPORTED features.secure_boot', { features: { secureBoot: true } }],
    ['FEATURE_UNSUPPORTED features.live_migration', { features: { liveMigration: true } }],
    ['FEATURE_UNSUPPORTED features.bios["x"]', { features: { bios: { x: '1' } } }],
    ['FEATURE_UNSUPPORTED shape.vcpus', { shape: { vcpus: 5 } }],
    ['INVALID_FIELD features.svn', { features: { svn: 1 } }],
    ['POLICY_DEBUG snp.guest_policy', { snp: { guestPolicy: 0xb0000n } }],
    ['IMAGE_UNKNOWN image_digest', { imageDigest: new Uint8Array(32) }],
    ['QUOTA', { count: 7 }],
  ])('%s: what is not offered is refused by name, and nothing is created', async (code, change) => {
    const { acme, machine } = await startService();
    expect(await told(acme.cVMCreate(await createRequest(acme, change)))).toBe(code);
    expect((await acme.cVMList({})).cvms).toEqual([]);
    expect(machine.cvms.size).toBe(0);
  });

  test('an offer that changed since is stale; the repetition of an old request is not', async () => {
    const { acme, machine } = await startService();
    const request = await createRequest(acme);
    await acme.cVMCreate(request);
    const late = await createRequest(acme, { name: 'late' });
    machine.capabilities = [{ ...machine.capabilities[0]!, product: 'Turin' }];
    expect(await told(acme.cVMCreate(late))).toBe('FEATURE_SET_STALE feature_set_id');
    expect(await told(acme.cVMCreate(request))).toBe('accepted');
    expect(await told(acme.cVMCreate({ ...request, diskMib: 65 }))).toBe(
      'IDEMPOTENCY_MISMATCH request_id',
    );
  });

  test("a tenant's firmware is kept while a CVM uses it, and not where the request fails", async () => {
    const { acme, folder } = await startService();
    const kept = () => readdirSync(`${folder}-firmware`);
    const features = { auxilaryFirmware: new Uint8Array(100).fill(7) };
    const refused = await createRequest(acme, { features, imageDigest: new Uint8Array(32) });
    expect(await told(acme.cVMCreate(refused))).toBe('IMAGE_UNKNOWN image_digest');
    expect(kept()).toEqual([]);
    const { cvms } = await acme.cVMCreate(await createRequest(acme, { features }));
    const digest = crypto.hash('sha256', features.auxilaryFirmware);
    expect(cvms[0]?.launchInputs?.firmwareDigest).toEqual(digest);
    expect(kept()).toHaveLength(1);
    const { images } = await acme.cVMFeature({});
    const update = { cvm: 'web', imageDigest: images[1]!.digest };
    const { cvm } = await acme.cVMUpdate(update);
    expect(cvm?.launchInputs?.firmwareDigest).toEqual(digest);
    await acme.cVMDelete({ cvm: 'web' });
    expect(kept()).toEqual([]);
  });
});

describe('lifecycle over the wire', () => {
  test('start, stop, update and delete by name or id', async () => {
    const { acme } = await startService();
    const { cvms } = await acme.cVMCreate(await createRequest(acme));
    const { cvmId } = cvms[0]!;
    expect((await acme.cVMStart({ cvm: 'web' })).cvm).toMatchObject({
      state: CvmState.RUNNING,
      bootCount: 1,
    });
    expect(await told(acme.cVMDelete({ cvm: cvmId }))).toBe('CVM_STATE');
    expect((await acme.cVMStop({ cvm: cvmId })).cvm?.state).toBe(CvmState.STOPPED);
    const { images } = await acme.cVMFeature({});
    const updated = await acme.cVMUpdate({
      cvm: 'web',
      imageDigest: images[1]!.digest,
      snp: { guestPolicy: 0x130000n },
    });
    expect(updated.cvm?.launchInputs).toMatchObject({
      imageDigest: images[1]!.digest,
      guestPolicy: 0x130000n,
    });
    expect(updated.cvm?.predictedMeasurement).not.toEqual(cvms[0]!.predictedMeasurement);
    const again = await acme.cVMUpdate({ cvm: 'web', imageDigest: images[0]!.digest });
    expect(again.cvm?.launchInputs?.guestPolicy).toBe(0x130000n);
    expect(await told(acme.cVMUpdate({ cvm: 'web', imageDigest: images[0]!.digest, svn: 1 }))).toBe(
      'INVALID_FIELD features.svn',
    );
    await acme.cVMDelete({ cvm: 'web' });
    expect(await told(acme.cVMGet({ cvm: 'web' }))).toBe('NOT_FOUND cvm');
  });

  test("another tenant's CVMs are as unknown as ones that never were, to every method", async () => {
    const { acme, globex } = await startService();
    const { cvms } = await acme.cVMCreate(await createRequest(acme));
    const { images } = await acme.cVMFeature({});
    for (const cvm of [cvms[0]!.cvmId, 'web', 'nothing']) {
      const imageDigest = images[0]!.digest;
      const nonce = new Uint8Array(32);
      const watch = globex.cVMWatch({ cvm })[Symbol.asyncIterator]();
      const answers = [
        globex.cVMGet({ cvm }),
        globex.cVMStart({ cvm }),
        globex.cVMStop({ cvm }),
        globex.cVMDelete({ cvm }),
        globex.cVMUpdate({ cvm, imageDigest }),
        globex.cVMVerify({ cvm, nonce }),
        globex.cVMActivate({
          cvm,
          nonce,
          credentialBlob: new Uint8Array(64),
          encryptedSecret: new Uint8Array(64),
        }),
        watch.next(),
      ];
      const refusals = await Promise.all(answers.map(told));
      expect(new Set(refusals)).toEqual(new Set(['NOT_FOUND cvm']));
    }
    expect((await globex.cVMList({})).cvms).toEqual([]);
    expect((await acme.cVMGet({ cvm: 'web' })).cvm?.state).toBe(CvmState.DEFINED);
  });

  test('a list is in the order of names, page by page', async () => {
    const { acme } = await startService();
    for (const name of ['c', 'a', 'b']) await acme.cVMCreate(await createRequest(acme, { name }));
    const first = await acme.cVMList({ pageSize: 2 });
    expect(first.cvms.map((cvm) => cvm.name)).toEqual(['a', 'b']);
    const second = await acme.cVMList({ pageSize: 2, pageToken: first.nextPageToken });
    expect(second.cvms.map((cvm) => cvm.name)).toEqual(['c']);
    expect(second.nextPageToken).toBe('');
    expect(await told(acme.cVMList({ pageToken: '!' }))).toBe('INVALID_FIELD page_token');
  });
});

describe('watch', () => {
  test('what is there, then each change, then the end of what is gone', async () => {
    const { acme } = await startService();
    await acme.cVMCreate(await createRequest(acme));
    await acme.cVMCreate(await createRequest(acme, { name: 'other' }));
    const seen: CvmState[] = [];
    const watched = (async () => {
      for await (const { cvm } of acme.cVMWatch({ cvm: 'web' })) {
        seen.push(cvm!.state);
        if (seen.length === 1) {
          await acme.cVMStart({ cvm: 'web' });
          await acme.cVMStart({ cvm: 'other' });
          await acme.cVMStop({ cvm: 'web' });
          await acme.cVMDelete({ cvm: 'web' });
        }
      }
    })();
    await watched;
    expect(seen).toEqual([
      CvmState.DEFINED,
      CvmState.STARTING,
      CvmState.RUNNING,
      CvmState.STOPPING,
      CvmState.STOPPED,
      CvmState.DELETING,
      CvmState.DELETED,
    ]);
  });

  test('without a name it watches all of the tenant and nothing of others', async () => {
    const { acme, globex } = await startService();
    const ending = new AbortController();
    const seen: CVMWatchResponse[] = [];
    const watched = (async () => {
      for await (const response of acme.cVMWatch({}, { signal: ending.signal })) {
        seen.push(response);
        if (seen.length === 2) ending.abort();
      }
    })().catch((error) => ConnectError.from(error).code);
    await globex.cVMCreate(await createRequest(globex, { name: 'theirs' }));
    await acme.cVMCreate(await createRequest(acme, { name: 'a' }));
    await acme.cVMCreate(await createRequest(acme, { name: 'b' }));
    expect(await watched).toBe(Code.Canceled);
    expect(seen.map(({ cvm }) => cvm?.name)).toEqual(['a', 'b']);
  });
});

describe('guests', () => {
  async function withGuest() {
    const service = await startService();
    const { acme, machine } = service;
    const { cvms } = await acme.cVMCreate(await createRequest(acme));
    const { cvmId } = cvms[0]!;
    const socket = join(temporaryFolder('guest'), 's');
    machine.guestSockets.set(cvmId, socket);
    return { ...service, cvmId, socket };
  }

  /** Watches until a CVM satisfies the condition. */
  async function until(
    watch: AsyncIterable<CVMWatchResponse>,
    condition: (response: CVMWatchResponse) => boolean,
  ): Promise<CVMWatchResponse> {
    for await (const response of watch) if (condition(response)) return response;
    throw new Error('the watch ended');
  }

  test('the status of the Key Agent is followed, over a broken connection too, and kept', async () => {
    const { acme, machine, cvmId, socket } = await withGuest();
    const guest = await FakeGuest.start(socket);
    guest.say({ phase: AgentPhase.ATTESTING });
    await acme.cVMStart({ cvm: 'web' });
    await until(acme.cVMWatch({}), ({ cvm }) => cvm?.agent?.phase === AgentPhase.ATTESTING);
    guest.interrupt();
    guest.say({ phase: AgentPhase.DELIVERED, svn: 3, diskAction: 'formatted' });
    await until(acme.cVMWatch({}), ({ cvm }) => cvm?.agent?.phase === AgentPhase.DELIVERED);
    await guest.stop();
    machine.end(cvmId, { run: 'off' });
    const { cvm } = await until(acme.cVMWatch({}), (r) => r.cvm?.state === CvmState.STOPPED);
    expect(cvm?.agent).toMatchObject({ svn: 3, diskAction: 'formatted' });
    // The next start begins without the words of the one before.
    expect((await acme.cVMStart({ cvm: 'web' })).cvm?.agent).toBeUndefined();
  });

  test('evidence is relayed unchanged (draft-00 s.2.4)', async () => {
    const { acme, socket } = await withGuest();
    const guest = await FakeGuest.start(socket);
    await acme.cVMStart({ cvm: 'web' });
    const nonce = crypto.randomBytes(64);
    const { evidence } = await acme.cVMVerify({ cvm: 'web', nonce });
    expect(evidence).toMatchObject({ configDocument: nonce, cmwCollection: nonce });
    const asked: unknown[] = [];
    guest.activate = async ({ nonce, credentialBlob, encryptedSecret }) => {
      asked.push([nonce, credentialBlob, encryptedSecret]);
      return new Uint8Array(32).fill(3);
    };
    const credential = {
      credentialBlob: crypto.randomBytes(70),
      encryptedSecret: crypto.randomBytes(258),
    };
    const { proof } = await acme.cVMActivate({ cvm: 'web', nonce, ...credential });
    expect([...proof]).toEqual([...new Uint8Array(32).fill(3)]);
    expect(asked).toEqual([[nonce, credential.credentialBlob, credential.encryptedSecret]]);
    await guest.stop();
  });

  test('a guest that does not answer, fails or says too much is unreachable', async () => {
    const { acme, socket } = await withGuest();
    const nonce = new Uint8Array(32);
    const verify = () => told(acme.cVMVerify({ cvm: 'web', nonce }));
    const activate = () =>
      told(acme.cVMActivate({ cvm: 'web', nonce, credentialBlob: nonce, encryptedSecret: nonce }));
    expect(await verify()).toBe('CVM_STATE cvm');
    await acme.cVMStart({ cvm: 'web' });
    expect(await verify()).toBe('GUEST_UNREACHABLE');
    const guest = await FakeGuest.start(socket);
    guest.evidence = async () => {
      throw new Error('no');
    };
    expect(await verify()).toBe('GUEST_UNREACHABLE');
    guest.evidence = async () => ({ cmwCollection: new Uint8Array(3 * 1024 * 1024) });
    expect(await verify()).toBe('GUEST_UNREACHABLE');
    guest.activate = async () => new Uint8Array(3 * 1024 * 1024);
    expect(await activate()).toBe('GUEST_UNREACHABLE');
    await guest.stop();
  });
});
