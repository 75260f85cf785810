import { TenantLimitsSchema } from '#gen/cvmp/v1/tenant_pb.js';
import { command } from '../command.js';
import { fields } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';
import { wholeNumber } from '../terminal/typed.js';

const number = (what: string) =>
  ({ type: 'string', value: 'N', summary: `${what}; 0 or left out: the default.` }) as const;

export const tenantLimit = command({
  name: 'tenant limit',
  summary: "Sets a tenant's limits on a server (operators only).",
  examples: ['cvmp tenant limit acme --keys-max 50000 --calls-per-minute-max 600'],
  positionals: ['TENANT'],
  options: {
    ...serverOption,
    'keys-max': number('Keys that are not destroyed'),
    'policies-max': number('Keying Policies, at most 256'),
    'stored-bytes-max': number('Bytes of signed policies, all versions'),
    'cvms-max': number('CVMs on the platform'),
    'sessions-max': number('Attested sessions at once'),
    'calls-per-minute-max': number('Calls in a minute'),
  },
  notes:
    'All of them are set at once: one that is left out is 0, as the configuration of the server\n' +
    'says. cvmp tenant show TENANT shows what holds and what is used.',
  async run({ positionals: [tenantId], options }, context) {
    const n = (name: keyof typeof options & `${string}-max`, max: number) =>
      wholeNumber(options[name], name, { min: 0, max, otherwise: 0 });
    const limits = {
      keysMax: n('keys-max', 100_000_000),
      policiesMax: n('policies-max', 256),
      storedBytesMax: BigInt(n('stored-bytes-max', 2 ** 40)),
      cvmsMax: n('cvms-max', 1_000_000),
      sessionsMax: n('sessions-max', 1_000_000),
      callsPerMinuteMax: n('calls-per-minute-max', 1_000_000),
    };
    const servers = serverChoice(options.server, await context.profile());
    const { tenants } = await context.servers();
    const set = [];
    for (const server of servers) {
      const answer = await tenants(server).setTenantLimits({ tenantId: tenantId!, limits });
      if (answer.limits !== undefined) set.push(toReadable(TenantLimitsSchema, answer.limits));
    }
    const shown = Object.entries(set[0] ?? {}).map(
      ([name, value]) =>
        [name.replaceAll('_', ' '), Number(value) === 0 ? 'default' : String(value)] as const,
    );
    return {
      json: { tenant_id: tenantId, servers, limits: set[0] ?? {} },
      text: fields([['tenant', tenantId!], ['servers', servers.join(', ')], ...shown]),
    };
  },
});
