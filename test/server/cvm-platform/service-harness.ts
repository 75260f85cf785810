import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import { crypto } from '#crypto';
import { ErrorDetailSchema } from '#gen/cvmp/v1/error_pb.js';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import { type CVMCreateRequestSchema, CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { cvmService } from '#server/cvm-platform/cvm-service.js';
import { Guests } from '#server/cvm-platform/guests/guests.js';
import { ImageCatalogue, imageFiles } from '#server/cvm-platform/images.js';
import { Lifecycle } from '#server/cvm-platform/lifecycle/lifecycle.js';
import { Planning } from '#server/cvm-platform/planning.js';
import { bearer, type Signer } from '../../fakes/callers.js';
import { FakeHost } from '../../fakes/host-driver.js';
import { MemoryStore } from '../../fakes/platform-store.js';
import { temporaryFolder } from '../../run-folder.js';
import { audience, startTestHost } from '../host/harness.js';

/** Images `v1` and `v2`. */
export function imagesFolder(): string {
  const folder = temporaryFolder('images');
  for (const name of ['v1', 'v2']) {
    mkdirSync(join(folder, name));
    const files = { firmware: 'firmware', kernel: name, initrd: 'initrd', cmdline: 'quiet\n' };
    for (const [file, content] of Object.entries(files)) {
      writeFileSync(join(folder, name, file), content);
    }
    writeFileSync(join(folder, name, imageFiles.description), `name: ${name}\n`);
  }
  return folder;
}

export type PlatformClient = Client<typeof CvmService>;

/** CvmService on both ports of a server, on a fake host, with two tenants. */
export async function startService() {
  const machine = new FakeHost();
  const store = new MemoryStore();
  const folder = imagesFolder();
  const log = pino({ level: 'silent' });
  const driver = machine.driver();
  const images = await ImageCatalogue.load(folder, `${folder}-firmware`);
  const lifecycle = new Lifecycle({
    store,
    everything: await store.load(),
    host: { driver, images, shutdownGraceMs: 1000 },
    limits: {
      cvmsMax: 8,
      cvmsPerTenantMax: 6,
      requestTtlMs: 1000,
      requestsPerTenantMax: 100,
    },
    now: () => 5_000,
    randomBytes: crypto.randomBytes,
    log,
  });
  await lifecycle.recover();
  const { registry } = lifecycle;
  const guests = new Guests({ driver, registry, evidenceMsMax: 5_000, log });
  const planning = new Planning(driver, images, registry, {
    vcpusMax: 4,
    memoryMibMax: 4096,
    diskMibMax: 1024,
    cvmsMax: 8,
    firmwareBytesMax: 1024,
  });
  const service = cvmService({
    lifecycle,
    planning,
    images,
    guests,
    offerMs: 60_000,
    cvmsMax: 8,
    now: () => 5_000,
  });
  const server = await startTestHost(() => [service]);
  onTestFinished(async () => {
    await guests.close();
    await lifecycle.close();
  });

  const client = async (tenant: Signer): Promise<PlatformClient> => {
    const authorization = await bearer(tenant, audience, Date.now());
    return createClient(
      CvmService,
      createGrpcTransport({
        baseUrl: `https://${server.host.grpcAddress}`,
        nodeOptions: { ca: server.certificate },
        interceptors: [
          (next) => (request) => {
            request.header.set('authorization', authorization);
            return next(request);
          },
        ],
      }),
    );
  };
  const acme = await client(server.acme);
  const globex = await client(server.globex);
  return { machine, lifecycle, images, folder, server, acme, globex };
}

/** A request for one CVM of the first image that is built on the current offer. */
export async function createRequest(
  client: PlatformClient,
  change: MessageInitShape<typeof CVMCreateRequestSchema> = {},
): Promise<MessageInitShape<typeof CVMCreateRequestSchema>> {
  const { featureSetId, images } = await client.cVMFeature({});
  return {
    requestId: crypto.randomBytes(16),
    featureSetId,
    tee: TeeType.SEV_SNP,
    name: 'web',
    imageDigest: images.find(({ name }) => name.endsWith('v1'))!.digest,
    configDocument: new Uint8Array([0xa0]),
    keyServerAddress: 'localhost:7443',
    ...change,
  };
}

/** "CODE field" of the error that a call ends with, or "accepted". */
export async function told(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    const [detail] = ConnectError.from(error).findDetails(ErrorDetailSchema);
    if (detail === undefined) throw error;
    return `${detail.code} ${detail.field}`.trim();
  }
  return 'accepted';
}
