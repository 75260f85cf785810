import { command } from '../command.js';
import { createProfile, newProfileOptions } from '../profile/new-profile.js';

export const tenantInit = command({
  name: 'tenant init',
  summary: "Makes a tenant's keys and a profile.",
  examples: [
    'cvmp tenant init acme --key-server ks.example:7443 --key-server-ca ks.crt \\',
    '    --identity identity.pub --platform cloud.example:7444 --platform-ca cloud.crt',
  ],
  positionals: ['TENANT'],
  options: newProfileOptions,
  notes:
    'Writes the profile (--profile FILE says where) and beside it tenant-key.pem and\n' +
    'id-block-key.pem (secret, mode 0600) and TENANT.pub, to be given to the operators for\n' +
    'cvmp tenant register.',
  run({ positionals: [tenant], options }, context) {
    return createProfile({ tenant: tenant! }, options, context);
  },
});
