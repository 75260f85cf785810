import { relative } from 'node:path';
import { toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { type CommandContext, command } from '../command.js';
import { typedPorts } from '../dev/ports.js';
import { bringUp, type Dev } from '../dev/up.js';
import { fields, jsonText } from '../terminal/output.js';

const defaultData = 'cvmp-data';

/** A path as one would type it here. */
function typable(context: CommandContext, path: string): string {
  const here = relative(context.path('.'), path);
  return here.startsWith('..') ? path : here;
}

function report({ layout, profile, ports }: Dev, context: CommandContext): string {
  const folder = typable(context, layout.profile).replace(/\/?cvmp\.yaml$/, '');
  // The profile of ./cvmp-data is found without being named.
  const named = folder === defaultData ? '' : ` --profile ${typable(context, layout.profile)}`;
  const commands = [
    `npx cvmp feature list${named}`,
    `npx cvmp policy set ${typable(context, layout.policy)}${named}`,
    `npx cvmp cvm create web --image sample-v1 --svn 1 --start${named}`,
  ];
  const identity = toHex(thumbprint(profile.keyServer!.identityKey));
  const web = (port: number) => `https://127.0.0.1:${port}`;
  const keyServer = { grpc: profile.keyServer!.address, web: web(ports.keyServerWeb) };
  const platform = { grpc: profile.platform!.address, web: web(ports.platformWeb) };
  if (context.json) {
    return jsonText(
      {
        key_server: { ...keyServer, identity_thumbprint: identity },
        platform,
        tenant: profile.tenant ?? '',
        profile: layout.profile,
        policy: layout.policy,
        commands,
      },
      2,
    );
  }
  return [
    fields([
      ['Key Server', `${keyServer.grpc} (gRPC), ${keyServer.web} (web)`],
      ['identity', identity],
      ['CVM Platform', `${platform.grpc} (gRPC), ${platform.web} (web), simulated SEV-SNP`],
      ['tenant', `${profile.tenant}, profile ${typable(context, layout.profile)}`],
      ['logs', typable(context, layout.log)],
    ]),
    '',
    'Try, in another terminal:',
    ...commands.map((line) => `  ${line}`),
    '',
    `Ctrl-C stops both servers; everything stays in ${folder}.`,
  ].join('\n');
}

/** Resolves by Ctrl-C. */
function interrupted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

export const dev = command({
  name: 'dev',
  summary: 'Key Server, CVM Platform with simulated hardware, and a tenant on this machine.',
  examples: ['cvmp dev', 'cvmp dev --data /var/tmp/try --ports auto'],
  options: {
    data: { type: 'string', value: 'DIR', summary: 'Data folder; ./cvmp-data unless told.' },
    ports: {
      type: 'string',
      value: 'K,KW,P,PW',
      summary: 'Ports for gRPC and web of either server, or auto; 7443,7480,7444,7481 unless told.',
    },
  },
  notes:
    'The first run makes stores, keys, certificates, sample images and a profile; later runs find\n' +
    'them again. Everything listens on 127.0.0.1 only. Simulated hardware proves nothing: this is\n' +
    'for trying and developing.',
  async run({ options }, context) {
    const { terminal, signal } = context;
    const data = context.path(options.data ?? defaultData);
    const ports = options.ports === undefined ? undefined : typedPorts(options.ports);
    const running = await bringUp(data, ports, context.now, (line) => terminal.err(`${line}\n`));
    terminal.out(`${report(running, context)}\n`);
    const failure = await Promise.race([interrupted(signal), running.failed]);
    terminal.err(failure === undefined ? 'stopping\n' : '');
    await running.stop();
    if (failure !== undefined) throw failure;
    return undefined;
  },
});
