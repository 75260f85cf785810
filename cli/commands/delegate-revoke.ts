import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';
import { hexBytes, typedTime } from '../terminal/typed.js';

export const delegateRevoke = command({
  name: 'delegate revoke',
  summary: 'Takes delegations back before they expire: one by one, or all up to a time.',
  examples: [
    'cvmp delegate revoke 4f1c2f0a0a4d4b1f9f3d0a6f2a1b3c4d',
    'cvmp delegate revoke --issued-before 2026-11-22T12:00:00Z',
  ],
  positionals: ['[ID...]'],
  options: {
    ...serverOption,
    'issued-before': {
      type: 'string',
      value: 'TIME',
      summary: 'All that were issued before this; tokens under them end with them.',
    },
  },
  async run({ positionals, options }, context) {
    const before = options['issued-before'];
    if (positionals.length === 0 && before === undefined) {
      throw new CvmpError('USAGE', 'neither an id nor --issued-before');
    }
    const delegationIds = positionals.map((id) => hexBytes(id, 'ID', 16));
    const issuedBefore =
      before === undefined ? undefined : timestampFromMs(typedTime(before, 'issued-before'));
    const servers = serverChoice(options.server, await context.profile());
    const { access } = await context.servers();
    for (const server of servers) {
      await access(server).revokeDelegations({
        delegationIds,
        ...(issuedBefore === undefined ? {} : { issuedBefore }),
      });
    }
    return {
      json: { servers, delegation_ids: positionals, issued_before: before ?? null },
      text: `revoked on ${servers.join(' and ')}`,
    };
  },
});
