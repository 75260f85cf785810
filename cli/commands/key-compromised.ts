import { toHex } from '#core/bytes.js';
import { keyChange } from '../keys/key-change.js';

export const keyCompromised = keyChange({
  name: 'key compromised',
  summary: 'Marks the root keys of a key as compromised; that is not taken back.',
  examples: ['cvmp key compromised 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70'],
  options: {},
  notes:
    'Agents are advised to re-key, and nothing more is allocated from these root keys. Whoever had\n' +
    "a Security Key could read the disk's volume key, which a re-key does not change: the data must\n" +
    'be encrypted anew.',
  question: () => 'Mark it as compromised, for good?',
  call: (keys, change) => keys.markKeyCompromised(change),
  next: ({ keyId }) =>
    `Next: cvmp key rotate ${toHex(keyId)} gives it a new root key, or cvmp key suspend ${toHex(keyId)} holds it.`,
});
