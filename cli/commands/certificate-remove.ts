import { command } from '../command.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';
import { hexBytes } from '../terminal/typed.js';

export const certificateRemove = command({
  name: 'certificate remove',
  summary: 'Takes a client certificate or its authority back.',
  examples: ['cvmp certificate remove DIGEST'],
  positionals: ['DIGEST'],
  options: serverOption,
  notes: 'DIGEST: SHA-256 of its public key, 32 bytes in hex, as cvmp tenant show prints it.',
  async run({ positionals: [typed], options }, context) {
    const spkiDigest = hexBytes(typed!, 'DIGEST', 32);
    const servers = serverChoice(options.server, await context.profile());
    const { access } = await context.servers();
    for (const server of servers) await access(server).removeClientCertificate({ spkiDigest });
    return {
      json: { servers, spki_digest: typed },
      text: `removed on ${servers.join(' and ')}`,
    };
  },
});
