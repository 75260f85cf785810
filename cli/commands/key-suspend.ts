import { toHex } from '#core/bytes.js';
import { keyChange } from '../keys/key-change.js';

export const keySuspend = keyChange({
  name: 'key suspend',
  summary: 'Holds a key: nothing of it is released until it is resumed.',
  examples: ['cvmp key suspend 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70'],
  options: {},
  notes:
    'CVMs that have their disk open keep it open; none opens it anew. Agents are told at once.',
  question: () => 'Suspend it? CVMs that boot or attest again are refused then.',
  call: (keys, change) => keys.suspendKey(change),
  next: ({ keyId }) => `cvmp key resume ${toHex(keyId)} ends it.`,
});
