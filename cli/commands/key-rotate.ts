import { toHex } from '#core/bytes.js';
import { keyChange } from '../keys/key-change.js';

export const keyRotate = keyChange({
  name: 'key rotate',
  summary: 'Gives a key a new root key, its next epoch; older ones are served until retired.',
  examples: [
    'cvmp key rotate 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70',
    'cvmp key rotate 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70 --agents-retire',
  ],
  options: {
    'agents-retire': {
      type: 'boolean',
      summary: 'The agent that moved its disk retires the older epochs. Only for keys of one disk.',
    },
  },
  notes:
    'Running agents are told and move their disks at once, others at their next boot. Where disks\n' +
    'of several CVMs share the key, the first that retires an epoch locks the others out: leave\n' +
    '--agents-retire out there, and use cvmp key retire-epoch when all have moved.',
  question: (_, options) =>
    options['agents-retire']
      ? 'Rotate it, and let the first agent retire the old one?'
      : 'Rotate it?',
  call: (keys, change, options) =>
    keys.rotateKey({ ...change, agentsRetireEpochs: options['agents-retire'] }),
  next: ({ keyId, epoch, agentsRetireEpochs }) =>
    agentsRetireEpochs
      ? `Epoch ${epoch - 1} ends when its agent has moved.`
      : `When every disk has moved: cvmp key retire-epoch ${toHex(keyId)} --below ${epoch}`,
});
