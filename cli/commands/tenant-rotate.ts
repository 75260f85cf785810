import { toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { signRotation } from '#core/cose/key-rotation.js';
import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { readKeyFile } from '../profile/key-file.js';
import { callerKey } from '../profile/speaker.js';
import { fields } from '../terminal/output.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';

export const tenantRotate = command({
  name: 'tenant rotate',
  summary: "Puts the tenant's next signing key in the place of the current one.",
  examples: ['cvmp tenant rotate --next next-key.pem'],
  options: {
    ...serverOption,
    next: { type: 'string', value: 'FILE', summary: 'The next private key.' },
  },
  notes:
    'cvmp signer init makes the next key. Signed by both keys. From then on the old key signs nothing more: tokens and delegations end\n' +
    'with it. CVMs whose config document names it are served on, as their agents are shown the\n' +
    'rotation. Then name the next key as tenant_key in the profile. Where one of two servers could\n' +
    'not be reached, repeat with --server.',
  async run({ options }, context) {
    if (options.next === undefined) throw new CvmpError('USAGE', '--next is missing');
    const profile = await context.profile();
    const { key, issuer } = await callerKey(profile, 'tenant');
    const next = await readKeyFile(context.path(options.next));
    const issued = Math.floor(context.now() / 1000);
    const signedRotation = await signRotation(issuer, key, next, issued);
    const servers = serverChoice(options.server, profile);
    const { access } = await context.servers();
    for (const server of servers) await access(server).rotateTenantKey({ signedRotation });
    const print = toHex(thumbprint({ curve: next.curve, point: next.publicPoint }));
    return {
      json: { tenant_id: issuer, servers, thumbprint: print },
      text: fields([
        ['tenant', issuer],
        ['servers', servers.join(', ')],
        ['thumbprint', print],
        ['next', `tenant_key: ${options.next} in ${profile.file}`],
      ]),
    };
  },
});
