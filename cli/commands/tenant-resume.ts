import { command } from '../command.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';

export const tenantResume = command({
  name: 'tenant resume',
  summary: 'Takes a suspended tenant up again (operators only).',
  examples: ['cvmp tenant resume acme'],
  positionals: ['TENANT'],
  options: serverOption,
  async run({ positionals: [tenantId], options }, context) {
    const servers = serverChoice(options.server, await context.profile());
    const { tenants } = await context.servers();
    for (const server of servers) await tenants(server).suspendTenant({ tenantId: tenantId! });
    return {
      json: { tenant_id: tenantId, servers },
      text: `${tenantId} is served again on ${servers.join(' and ')}`,
    };
  },
});
