import { toHex } from '#core/bytes.js';
import {
  GetAccessResponseSchema,
  GetTenantResponseSchema,
  type Tenant,
  type TenantAccess,
  type TenantUsage,
} from '#gen/cvmp/v1/tenant_pb.js';
import { command } from '../command.js';
import { timeText } from '../cvm/cvm-text.js';
import { fields } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';

type Field = readonly [string, string];

const tenantFields = (tenant: Tenant | undefined): readonly Field[] =>
  tenant === undefined
    ? []
    : [
        ['tenant', tenant.tenantId],
        ['key thumbprint', toHex(tenant.thumbprint)],
        [
          'earlier keys',
          tenant.earlierThumbprints.map((print) => toHex(print)).join('\n') || 'none',
        ],
        ['registered', timeText(tenant.registered)],
        ['suspended', tenant.suspended === '' ? 'no' : `yes: ${tenant.suspended}`],
      ];

const usageFields = (usage: readonly TenantUsage[]): readonly Field[] =>
  usage.map(({ resource, used, limit }) => [resource.replaceAll('_', ' '), `${used} of ${limit}`]);

function accessFields(access: TenantAccess | undefined): readonly Field[] {
  const revoked = access?.revokedDelegations.map((one) => toHex(one.delegationId)) ?? [];
  const certificates = access?.certificates.map((one) => {
    const kind = one.authority.length === 0 ? 'key' : 'authority';
    return `${toHex(one.spkiDigest)} ${kind} ${one.scope.join(',')} ${one.label}`.trim();
  });
  return [
    ['delegations before', timeText(access?.delegationsNotBefore) || 'none revoked'],
    ['delegations revoked', revoked.join('\n') || 'none'],
    ['client certificates', certificates?.join('\n') || 'none'],
  ];
}

export const tenantShow = command({
  name: 'tenant show',
  summary: 'A tenant, who may speak for it, its limits and how much of them it uses.',
  examples: ['cvmp tenant show', 'cvmp tenant show acme --server key-server'],
  positionals: ['[TENANT]'],
  options: serverOption,
  notes: 'Without TENANT the tenant of the profile asks for itself; with it an operator asks.',
  async run({ positionals: [tenantId], options }, context) {
    const { tenants, access } = await context.servers();
    const shown = [];
    for (const server of serverChoice(options.server, await context.profile())) {
      if (tenantId === undefined) {
        const answer = await access(server).getAccess({});
        const text = fields([
          ['server', server],
          ...tenantFields(answer.access?.tenant),
          ...usageFields(answer.usage),
          ...accessFields(answer.access),
        ]);
        shown.push({ json: { server, ...toReadable(GetAccessResponseSchema, answer) }, text });
      } else {
        const answer = await tenants(server).getTenant({ tenantId });
        const rows = [...tenantFields(answer.tenant), ...usageFields(answer.usage)];
        const json = { server, ...toReadable(GetTenantResponseSchema, answer) };
        shown.push({ json, text: fields([['server', server], ...rows]) });
      }
    }
    return {
      json: { servers: shown.map(({ json }) => json) },
      text: shown.map(({ text }) => text).join('\n\n'),
    };
  },
});
