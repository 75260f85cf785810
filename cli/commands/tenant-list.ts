import { toHex } from '#core/bytes.js';
import { TenantSchema } from '#gen/cvmp/v1/tenant_pb.js';
import { command } from '../command.js';
import { timeText } from '../cvm/cvm-text.js';
import { allPages } from '../pages.js';
import { table } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';

const tenantsMax = 1_000_000;

export const tenantList = command({
  name: 'tenant list',
  summary: 'Tenants that a server knows (operators only).',
  examples: ['cvmp tenant list', 'cvmp tenant list --server platform'],
  options: serverOption,
  async run({ options }, context) {
    const { tenants } = await context.servers();
    const rows = [];
    for (const server of serverChoice(options.server, await context.profile())) {
      const found = await allPages(tenantsMax, async (page) => {
        const answer = await tenants(server).listTenants(page);
        return { items: answer.tenants, nextPageToken: answer.nextPageToken };
      });
      rows.push(...found.map((tenant) => ({ server, tenant })));
    }
    return {
      json: {
        tenants: rows.map(({ server, tenant }) => ({
          server,
          ...toReadable(TenantSchema, tenant),
        })),
      },
      text: table(
        ['SERVER', 'TENANT', 'KEY THUMBPRINT', 'REGISTERED'],
        rows.map(({ server, tenant }) => [
          server,
          tenant.tenantId,
          toHex(tenant.thumbprint),
          timeText(tenant.registered),
        ]),
      ),
    };
  },
});
