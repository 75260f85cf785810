import { command } from '../command.js';
import { fetchKey } from '../keys/key-change.js';
import { keyFields, keyOutput } from '../keys/key-text.js';

export const keyShow = command({
  name: 'key show',
  summary: 'The record of one key.',
  examples: ['cvmp key show 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70'],
  positionals: ['KEYID'],
  options: {},
  async run({ positionals: [keyId] }, context) {
    return keyOutput(await fetchKey(context, keyId!), keyFields);
  },
});
