import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { KeyAdminService, type KeyInfoSchema, KeyState } from '#gen/cvmp/v1/key_admin_pb.js';
import { KeyPurpose } from '#gen/cvmp/v1/key_pb.js';
import { type BoundService, bindService, tenantOf } from '#server/host/handlers.js';
import { pageRequest } from '#server/host/paging.js';
import type { KeyInfo, Keys } from './release/contract.js';

/** KeyAdminService: what tenants may know of their keys; never a key. */
export function keyAdminService(keys: Pick<Keys, 'get' | 'list'>): BoundService {
  return bindService(KeyAdminService, {
    async getKey({ keyId }, context) {
      return { key: keyInfo(await keys.get(tenantOf(context), keyId)) };
    },

    async listKeys(request, context) {
      const { items, nextPageToken } = await keys.list(tenantOf(context), pageRequest(request));
      return { keys: items.map(keyInfo), nextPageToken };
    },
  });
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
  };
}
