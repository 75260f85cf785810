import { toHex } from '#core/bytes.js';
import { encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { parsePublicKey } from '../profile/profile.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';
import { readTypedText } from '../terminal/typed.js';

export const tenantReplaceKey = command({
  name: 'tenant replace-key',
  summary: 'Registers another key of a tenant that lost its own (operators only).',
  examples: ['cvmp tenant replace-key acme --key acme.pub --server platform'],
  positionals: ['TENANT'],
  options: {
    ...serverOption,
    key: { type: 'string', value: 'FILE', summary: 'Public key as `cvmp tenant init` writes it.' },
  },
  notes:
    'The Key Server refuses it once the tenant has policies: whoever could replace the key of its\n' +
    "policies would have its keys. With the old key at hand it is the tenant's own to do:\n" +
    'cvmp tenant rotate.',
  async run({ positionals: [tenantId], options }, context) {
    if (options.key === undefined) throw new CvmpError('USAGE', '--key is missing');
    const key = parsePublicKey(await readTypedText(context, options.key), options.key);
    const servers = serverChoice(options.server, await context.profile());
    const { tenants } = await context.servers();
    const prints = [];
    for (const server of servers) {
      const request = { tenantId: tenantId!, signingKey: encodeCoseKey(key) };
      const { tenant } = await tenants(server).replaceTenantKey(request);
      prints.push(
        `${server} knows ${tenantId} by ${toHex(tenant?.thumbprint ?? new Uint8Array())}`,
      );
    }
    return { json: { tenant_id: tenantId, servers }, text: prints.join('\n') };
  },
});
