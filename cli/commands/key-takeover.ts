import { keyChange } from '../keys/key-change.js';

export const keyTakeover = keyChange({
  name: 'key takeover',
  summary: 'Takes a key that one instance at a time has from the one that has it.',
  examples: ['cvmp key takeover 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70'],
  options: {},
  notes:
    'For policies with single_instance: the next other instance of the CVM gets the key, the one that\n' +
    'had it is told and refused from now on. What it has in memory it keeps: stop it first.',
  question: () => 'Take it over? The instance that has it is refused from now on.',
  call: (keys, change) => keys.takeOverKey(change),
  next: () => 'Another instance gets it when it asks.',
});
