import { keyChange } from '../keys/key-change.js';
import { wholeNumber } from '../terminal/typed.js';

const below = (typed: string | undefined) =>
  wholeNumber(typed ?? '', 'below', { min: 2, max: 2 ** 31, otherwise: 0 });

export const keyRetireEpoch = keyChange({
  name: 'key retire-epoch',
  summary: 'Ends older epochs of a key for good: their root keys are destroyed.',
  examples: ['cvmp key retire-epoch 9f0c6f1c0f5a4f0e8a1d2b3c4d5e6f70 --below 2'],
  options: {
    below: { type: 'string', value: 'EPOCH', summary: 'Epochs below this one end; must be given.' },
  },
  question: (_, options) =>
    `Destroy the root keys below epoch ${below(options.below)}? Disks that still hang on them are lost.`,
  call: (keys, change, options) => keys.retireKeyEpochs({ ...change, below: below(options.below) }),
});
