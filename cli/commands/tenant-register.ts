import { readFile } from 'node:fs/promises';
import { fromHex, toHex } from '#core/bytes.js';
import { encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { TenantSchema } from '#gen/cvmp/v1/tenant_pb.js';
import type { CommandContext } from '../command.js';
import { command } from '../command.js';
import { readKeyFile } from '../key-file.js';
import { toReadable } from '../readable.js';
import { serverChoice, serverOption } from '../server-choice.js';

/** A tenant's public key: from the file that `tenant init` wrote, or of the profile's own tenant. */
async function tenantKey(
  file: string | undefined,
  context: CommandContext,
): Promise<{ readonly tenant: string | undefined; readonly signingKey: Uint8Array }> {
  if (file === undefined) {
    const profile = await context.profile();
    const key = await readKeyFile(profile.tenantKey);
    const signingKey = encodeCoseKey({ curve: key.curve, point: key.publicPoint });
    return { tenant: profile.tenant, signingKey };
  }
  try {
    const text = await readFile(context.path(file), 'utf8');
    return { tenant: undefined, signingKey: fromHex(text.trim(), file) };
  } catch (cause) {
    if (cause instanceof CvmpError) throw cause;
    throw new CvmpError('USAGE', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
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
    if ((typed === undefined) !== (options.key === undefined)) {
      throw new CvmpError('USAGE', 'TENANT and --key go together');
    }
    const { tenant, signingKey } = await tenantKey(options.key, context);
    const tenantId = typed ?? tenant!;
    const { tenants } = await context.servers();
    const registered = [];
    for (const server of serverChoice(options.server, await context.profile())) {
      const answer = await tenants(server).registerTenant({ tenant: { tenantId, signingKey } });
      registered.push({ server, tenant: answer.tenant! });
    }
    return {
      json: {
        tenants: registered.map(({ server, tenant: entry }) => ({
          server,
          ...toReadable(TenantSchema, entry),
        })),
      },
      text: registered
        .map(({ server, tenant: t }) => `${server} knows ${t.tenantId} by ${toHex(t.thumbprint)}`)
        .join('\n'),
    };
  },
});
