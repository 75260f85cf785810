import { toHex } from '#core/bytes.js';
import { KeyState } from '#gen/cvmp/v1/key_admin_pb.js';
import { keyChange } from '../keys/key-change.js';

export const keyCancelDestroy = keyChange({
  name: 'key cancel-destroy',
  summary: 'Takes back an order to destroy a key before it is due.',
  examples: ['cvmp key cancel-destroy 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70'],
  options: {},
  call: (keys, change) => keys.cancelDestroy(change),
  next: ({ keyId, state }) =>
    state === KeyState.SUSPENDED
      ? `It is suspended: cvmp key resume ${toHex(keyId)} puts it in use again.`
      : 'It was never in use; its agent may confirm it now.',
});
