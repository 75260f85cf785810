import { command } from '../command.js';
import { createProfile, newProfileOptions } from '../profile/new-profile.js';

export const operatorInit = command({
  name: 'operator init',
  summary: "Makes an operator's key and a profile.",
  examples: ['cvmp operator init --platform cloud.example:7444 --platform-ca cloud.crt'],
  options: newProfileOptions,
  notes:
    'Writes the profile (--profile FILE says where) and beside it operator-key.pem (secret, mode\n' +
    '0600) and operator.pub, whose path goes into operator_key_files of the servers that this\n' +
    'operator may register tenants on.',
  run({ options }, context) {
    return createProfile('operator', options, context);
  },
});
