import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';

export const tenantSuspend = command({
  name: 'tenant suspend',
  summary: "Refuses a tenant's calls and attestations until it is resumed (operators only).",
  examples: ['cvmp tenant suspend acme --reason "unpaid since May"'],
  positionals: ['TENANT'],
  options: {
    ...serverOption,
    reason: { type: 'string', value: 'TEXT', summary: 'Why; kept with the tenant.' },
  },
  notes: 'What the tenant has is kept, and its CVMs run on with the keys that they have.',
  async run({ positionals: [tenantId], options }, context) {
    const { reason } = options;
    if (reason === undefined || reason === '') throw new CvmpError('USAGE', '--reason is missing');
    const servers = serverChoice(options.server, await context.profile());
    const { tenants } = await context.servers();
    for (const server of servers)
      await tenants(server).suspendTenant({ tenantId: tenantId!, reason });
    return {
      json: { tenant_id: tenantId, servers, reason },
      text: `${tenantId} is suspended on ${servers.join(' and ')}`,
    };
  },
});
