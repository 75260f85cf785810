import { keyChange } from '../keys/key-change.js';

export const keyResume = keyChange({
  name: 'key resume',
  summary: 'Ends the suspension of a key.',
  examples: ['cvmp key resume 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70'],
  options: {},
  call: (keys, change) => keys.resumeKey(change),
});
