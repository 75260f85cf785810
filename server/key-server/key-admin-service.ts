import type { MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { equalBytes } from '#core/bytes.js';
import { signTogether } from '#core/cose/quorum.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { CvmpError } from '#core/errors.js';
import {
  DestructionReceiptSchema,
  KeyAdminService,
  type KeyInfoSchema,
  KeyState,
} from '#gen/cvmp/v1/key_admin_pb.js';
import { KeyPurpose } from '#gen/cvmp/v1/key_pb.js';
import {
  type BoundService,
  bindService,
  type CallContext,
  tenantOf,
} from '#server/host/handlers.js';
import { pageRequest } from '#server/host/paging.js';
import { destructionReceiptType } from '#wire/key-orders.js';
import { loggedRecord } from './audit-service.js';
import type { KeyOrder, Tombstone } from './lifecycle/contract.js';
import type { LogReading, Proven } from './log/reading.js';
import type { KeyInfo, KeyServerState } from './release/contract.js';

type Parts = Pick<KeyServerState, 'keys' | 'keyAdmin' | 'identity' | 'log'> & {
  readonly now: () => number;
};

/** KeyAdminService: what tenants may know of their keys, and do to them; never a key. */
export function keyAdminService({ keys, keyAdmin, identity, log, now }: Parts): BoundService {
  return bindService(KeyAdminService, {
    async getKey({ keyId }, context) {
      return { key: keyInfo(await keys.get(tenantOf(context), keyId)) };
    },

    async listKeys(request, context) {
      const { items, nextPageToken } = await keys.list(tenantOf(context), pageRequest(request));
      return { keys: items.map(keyInfo), nextPageToken };
    },

    async suspendKey(request, context) {
      return { key: keyInfo(await keyAdmin.suspend(orderOf(request, context))) };
    },

    async resumeKey(request, context) {
      return { key: keyInfo(await keyAdmin.resume(orderOf(request, context))) };
    },

    async takeOverKey(request, context) {
      return { key: keyInfo(await keyAdmin.takeOver(orderOf(request, context))) };
    },

    async markKeyCompromised(request, context) {
      return { key: keyInfo(await keyAdmin.markCompromised(orderOf(request, context))) };
    },

    async rotateKey(request, context) {
      const { agentsRetireEpochs } = request;
      const order = { ...orderOf(request, context), agentsRetireEpochs };
      return { key: keyInfo(await keyAdmin.rotate(order)) };
    },

    async retireKeyEpochs(request, context) {
      const order = { ...orderOf(request, context), below: request.below };
      return { key: keyInfo(await keyAdmin.retireEpochs(order)) };
    },

    async destroyKey({ signedOrder }, context) {
      return { key: keyInfo(await keyAdmin.destroy(tenantOf(context), signedOrder, context)) };
    },

    async cancelDestroy(request, context) {
      return { key: keyInfo(await keyAdmin.cancelDestroy(orderOf(request, context))) };
    },

    async getReceipt({ keyIds }, context) {
      const tenantId = tenantOf(context);
      const destroyed = await keyAdmin.tombstones(tenantId, keyIds);
      // One checkpoint for all, with all of their records in it.
      const checkpoint = await log.newest();
      const prove = async (key: Tombstone) => {
        const index = key.logIndex ?? (await destructionIndex(log, key));
        return destroyedKey(key, await log.inclusion(tenantId, index, checkpoint.size));
      };
      const signedReceipt = await signReceipt(identity, {
        tenantId,
        keys: await Promise.all(destroyed.map(prove)),
        time: timestampFromMs(now()),
        checkpoint: checkpoint.signed,
        ...sometime('vaultLastCopied', keyAdmin.vaultCopied ?? 0),
      });
      return { signedReceipt };
    },
  });
}

function orderOf(
  request: {
    readonly keyId: Uint8Array;
    readonly requestId: Uint8Array;
    readonly expectedRevision: bigint;
  },
  context: CallContext,
): KeyOrder {
  const { keyId, requestId, expectedRevision } = request;
  const revision = Number(expectedRevision);
  if (!Number.isSafeInteger(revision)) {
    const field = 'expected_revision';
    throw new CvmpError('INVALID_FIELD', `${field} is too high`, { field });
  }
  return {
    tenantId: tenantOf(context),
    keyId,
    requestId,
    expectedRevision: revision === 0 ? undefined : revision,
    call: context,
  };
}

function signReceipt(
  identity: EcPrivateKey,
  receipt: MessageInitShape<typeof DestructionReceiptSchema>,
): Promise<Uint8Array> {
  const message = create(DestructionReceiptSchema, receipt);
  const payload = toBinary(DestructionReceiptSchema, message);
  return signTogether([identity], destructionReceiptType, payload);
}

/** Looks for the record of a destruction among the tenant's; a crash kept it from being noted. */
async function destructionIndex(
  log: Pick<LogReading, 'list'>,
  { tenantId, keyId }: Tombstone,
): Promise<number> {
  for (let pageToken = ''; ; ) {
    const page = await log.list(tenantId, { pageSize: 1000, pageToken });
    const found = page.items.find(
      ({ operation, keyId: of, code }) =>
        operation === 'key_destroy' &&
        code === undefined &&
        of !== undefined &&
        equalBytes(of, keyId),
    );
    if (found !== undefined) return found.index;
    if (page.nextPageToken === '') {
      throw new CvmpError('STORE_CORRUPT', 'the log does not know of the destruction of a key');
    }
    pageToken = page.nextPageToken;
  }
}

function destroyedKey(key: Tombstone, proven: Proven) {
  return {
    keyId: key.keyId,
    created: timestampFromMs(key.created),
    released: timestampFromMs(key.released),
    ordered: timestampFromMs(key.ordered),
    orderDigest: key.orderDigest,
    destroyed: timestampFromMs(key.stateSince),
    epochs: key.epoch,
    logged: loggedRecord(proven),
  };
}

const states: Readonly<Record<KeyInfo['state'], KeyState>> = {
  'pre-active': KeyState.PRE_ACTIVE,
  active: KeyState.ACTIVE,
  suspended: KeyState.SUSPENDED,
  destroyed: KeyState.DESTROYED,
  'destroy-pending': KeyState.DESTROY_PENDING,
};

const purposes: Readonly<Record<KeyInfo['purpose'], KeyPurpose>> = {
  disk: KeyPurpose.DISK,
  data: KeyPurpose.DATA,
};

function keyInfo(key: KeyInfo): MessageInitShape<typeof KeyInfoSchema> {
  const { keyId, svnFloor, svnRetired, epoch, length, policyId, cvmName } = key;
  return {
    keyId,
    svnFloor,
    svnRetired,
    epoch,
    length,
    policyId,
    cvmName,
    state: states[key.state],
    purpose: purposes[key.purpose],
    created: timestampFromMs(key.created),
    released: timestampFromMs(key.released),
    revision: BigInt(key.revision),
    stateSince: timestampFromMs(key.stateSince),
    epochs: key.epochs.map((root) => ({
      epoch: root.epoch,
      created: timestampFromMs(root.created),
      compromised: root.epoch <= key.compromisedEpoch,
      ...sometime('confirmed', root.confirmed),
    })),
    agentsRetireEpochs: key.agentsRetireEpochs,
    instanceId: key.lease?.instanceId ?? new Uint8Array(),
    ...sometime('leaseExpires', key.lease?.until ?? 0),
    ...sometime('activated', key.activated),
    ...sometime('compromisedSince', key.compromisedSince),
    ...sometime('destroyDue', key.destruction?.due ?? 0),
  };
}

/** A time that may not have come: 0 is none. */
function sometime<Name extends string>(name: Name, ms: number): { [N in Name]?: Timestamp } {
  return (ms === 0 ? {} : { [name]: timestampFromMs(ms) }) as { [N in Name]?: Timestamp };
}
