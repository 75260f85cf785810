import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { CvmService } from '#gen/cvmp/v1/platform_pb.js';
import {
  type BoundService,
  bindService,
  type CallContext,
  tenantOf,
} from '#server/host/handlers.js';
import { decodePageToken, pageOf, pageRequest } from '#server/host/paging.js';
import { contentDigest } from './content-digest.js';
import type { Guests } from './guests/guests.js';
import type { ImageCatalogue } from './images.js';
import type { Cvm } from './lifecycle/cvm.js';
import type { Lifecycle } from './lifecycle/lifecycle.js';
import type { OperationOptions } from './lifecycle/operations.js';
import type { Operation } from './lifecycle/table.js';
import type { Planning } from './planning.js';
import { watchCvms } from './watch.js';
import {
  cvmMessage,
  imageMessage,
  readCreate,
  readTee,
  readUpdate,
  teeFeaturesMessage,
} from './wire.js';

export interface CvmServiceParts {
  readonly lifecycle: Lifecycle;
  readonly planning: Planning;
  readonly images: ImageCatalogue;
  readonly guests: Guests;
  /** How long an offer is said to stand, ms. */
  readonly offerMs: number;
  /** CVMs that this platform can hold. */
  readonly cvmsMax: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** CvmService: each handler reads its request, has one room do the work, and tells what came of it. */
export function cvmService(parts: CvmServiceParts): BoundService {
  const { lifecycle, planning, images, guests, now } = parts;
  const { registry, operations, creation } = lifecycle;

  const message = (cvm: Cvm) => cvmMessage({ cvm, agent: guests.status(cvm.cvmId), gone: false });

  const named = (request: { readonly cvm: string }, context: CallContext) =>
    registry.find(tenantOf(context), request.cvm);

  async function run(cvm: Cvm, operation: Operation, options?: OperationOptions) {
    return { cvm: message(await operations.run(cvm.cvmId, operation, options)) };
  }

  return bindService(CvmService, {
    async cVMFeature(request) {
      const offer = await planning.offer();
      const kinds = request.teeTypes.map(readTee);
      const tees = offer.tees.filter(({ tee }) => kinds.length === 0 || kinds.includes(tee));
      const free = Math.max(0, parts.cvmsMax - registry.all().length);
      return {
        nonce: request.nonce,
        featureSetId: offer.featureSetId,
        validUntil: timestampFromMs(now() + parts.offerMs),
        teeFeatures: tees.map((tee) => teeFeaturesMessage(tee, free)),
        images: images.list().map(imageMessage),
      };
    },

    async cVMCreate(request, context) {
      const { requestId, featureSetId, name } = request;
      const wanted = readCreate(request);
      const count = request.count || 1;
      const cvms = await planning.planned(featureSetId, wanted, (plan) =>
        creation.create({
          tenantId: tenantOf(context),
          requestId,
          digest: contentDigest({ featureSetId, name, count, wanted }),
          name,
          count,
          plan,
        }),
      );
      return { cvms: cvms.map(message) };
    },

    async cVMGet(request, context) {
      return { cvm: message(named(request, context)) };
    },

    async cVMList(request, context) {
      const { pageSize, pageToken } = pageRequest(request);
      const after = decodePageToken(pageToken) ?? '';
      const rest = registry.ofTenant(tenantOf(context)).filter((cvm) => cvm.name > after);
      const page = pageOf(rest.slice(0, pageSize + 1), pageSize, (cvm) => cvm.name);
      return { cvms: page.items.map(message), nextPageToken: page.nextPageToken };
    },

    async *cVMWatch(request, context) {
      const only = request.cvm === '' ? undefined : named(request, context).cvmId;
      const views = watchCvms({ registry, guests }, tenantOf(context), only, context.signal);
      for await (const view of views) yield { cvm: cvmMessage(view) };
    },

    async cVMStart(request, context) {
      return run(named(request, context), 'start');
    },

    async cVMStop(request, context) {
      return run(named(request, context), 'stop', { force: request.force });
    },

    async cVMUpdate(request, context) {
      const cvm = named(request, context);
      const launch = await planning.replanned(cvm.launch.spec, readUpdate(request));
      return run(cvm, 'update', { launch });
    },

    async cVMDelete(request, context) {
      const { cvmId } = named(request, context);
      const { launch } = await operations.run(cvmId, 'delete');
      if (launch.spec.firmwareDigest !== undefined) await planning.sweep();
      return {};
    },

    async cVMVerify(request, context) {
      const cvm = named(request, context);
      return { evidence: await guests.evidence(cvm, request.nonce, context.signal) };
    },

    async cVMActivate(request, context) {
      const cvm = named(request, context);
      const { nonce, credentialBlob, encryptedSecret } = request;
      const credential = { nonce, credentialBlob, encryptedSecret };
      return { proof: await guests.activate(cvm, credential, context.signal) };
    },

    async cVMImage(request) {
      const image = images.get(request.digest, 'digest');
      return { image: imageMessage(image), firmware: await images.firmwareOf(image) };
    },
  });
}
