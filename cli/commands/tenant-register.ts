import { toHex } from '#core/bytes.js';
import { encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { TenantSchema } from '#gen/cvmp/v1/tenant_pb.js';
import { type CommandContext, command } from '../command.js';
import { parsePublicKey } from '../profile/profile.js';
import { callerKey } from '../profile/speaker.js';
import { toReadable } from '../terminal/readable.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';
import { readTypedText } from '../terminal/typed.js';

/** Whom to register: who was typed, or the tenant of the profile itself. */
async function newTenant(
  typed: string | undefined,
  file: string | undefined,
  context: CommandContext,
) {
  if (typed !== undefined && file !== undefined) {
    const key = parsePublicKey(await readTypedText(context, file), file);
    return { tenantId: typed, signingKey: encodeCoseKey(key) };
  }
  if (typed !== undefined || file !== undefined) {
    throw new CvmpError('USAGE', 'TENANT and --key go together');
  }
  const { key, issuer } = await callerKey(await context.profile(), 'tenant');
  const signingKey = encodeCoseKey({ curve: key.curve, point: key.publicPoint });
  return { tenantId: issuer, signingKey };
}

export const tenantRegister = command({
  name: 'tenant register',
  summary: "Makes a tenant's public key known to the servers (operators only).",
  examples: ['cvmp tenant register', 'cvmp tenant register acme --key acme.pub'],
  positionals: ['[TENANT]'],
  options: {
    ...serverOption,
    key: { type: 'string', value: 'FILE', summary: 'Public key as `cvmp tenant init` writes it.' },
  },
  notes: 'Without TENANT: the tenant of the profile itself. Repeated, it changes nothing.',
  async run({ positionals: [typed], options }, context) {
    const wanted = await newTenant(typed, options.key, context);
    const { tenants } = await context.servers();
    const registered = [];
    for (const server of serverChoice(options.server, await context.profile())) {
      const { tenant } = await tenants(server).registerTenant({ tenant: wanted });
      if (tenant !== undefined) registered.push({ server, tenant });
    }
    return {
      json: {
        tenants: registered.map(({ server, tenant }) => ({
          server,
          ...toReadable(TenantSchema, tenant),
        })),
      },
      text: registered
        .map(({ server, tenant: t }) => `${server} knows ${t.tenantId} by ${toHex(t.thumbprint)}`)
        .join('\n'),
    };
  },
});
